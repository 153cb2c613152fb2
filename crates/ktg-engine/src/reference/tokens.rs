//! Tokens: maps `[channels, 1, tokens]`, and attention among them.

use ktg_net::Shape;

/// The pixels of maps behind the class token, which is `[channels]`.
pub(super) fn with_class(x: &[f64], token: &[f64], shape: Shape) -> Vec<f64> {
    let rows = x.chunks_exact(shape.pixels()).enumerate();
    rows.flat_map(|(row, pixels)| [&token[row % shape.channels..][..1], pixels].concat()).collect()
}

/// Gradients of the pixels and of the class token; `shape` is the pixels'.
pub(super) fn with_class_backward(g: &[f64], shape: Shape) -> (Vec<f64>, Vec<f64>) {
    let mut of_token = vec![0.0; shape.channels];
    let mut dx = Vec::new();
    for (row, g) in g.chunks_exact(1 + shape.pixels()).enumerate() {
        of_token[row % shape.channels] += g[0];
        dx.extend(&g[1..]);
    }
    (dx, of_token)
}

/// Place, among embeddings `[tokens, channels]`, of the value at `i`.
pub(super) fn position(i: usize, shape: Shape) -> usize {
    i % shape.pixels() * shape.channels + i / shape.pixels() % shape.channels
}

/// Heads of attention, and the shape of what they read: queries, keys and values.
pub(super) struct Heads {
    heads: usize,
    tokens: usize,
    /// Channels of a head's queries.
    width: usize,
}

/// A head of an image: where the values of its queries, keys and values begin.
#[derive(Clone, Copy)]
struct Head([usize; 3]);

impl Heads {
    pub fn new(heads: usize, shape: Shape) -> Self {
        Self { heads, tokens: shape.pixels(), width: shape.channels / 3 / heads }
    }

    /// Values of one head's queries.
    fn len(&self) -> usize {
        self.width * self.tokens
    }

    /// The heads of all images, in the order of the results.
    fn all(&self, values: usize) -> impl Iterator<Item = Head> {
        let (heads, len) = (self.heads, self.len());
        let head = move |number: usize| {
            let first = number / heads * 3 * heads * len + number % heads * len;
            Head([0, 1, 2].map(|i| first + i * heads * len))
        };
        (0..values / (3 * len)).map(head)
    }

    /// What the token that asks sees of each token.
    fn probabilities(&self, qkv: &[f64], Head([q, k, _]): Head, asks: usize) -> Vec<f64> {
        let score = |token: usize| -> f64 {
            let product = |c: usize| qkv[q + c * self.tokens + asks] * qkv[k + c * self.tokens + token];
            (0..self.width).map(product).sum::<f64>() / (self.width as f64).sqrt()
        };
        let scores: Vec<f64> = (0..self.tokens).map(score).collect();
        let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let shares: Vec<f64> = scores.iter().map(|score| (score - highest).exp()).collect();
        let sum: f64 = shares.iter().sum();
        shares.iter().map(|share| share / sum).collect()
    }

    /// From gradients at the probabilities of the token that asks to those of queries and keys.
    fn probabilities_backward(&self, qkv: &[f64], head: Head, asks: usize, of_p: &[f64], dqkv: &mut [f64]) {
        let Head([q, k, _]) = head;
        let p = self.probabilities(qkv, head, asks);
        let mean: f64 = p.iter().zip(of_p).map(|(p, g)| p * g).sum();
        for token in 0..self.tokens {
            let of_score = p[token] * (of_p[token] - mean) / (self.width as f64).sqrt();
            for c in 0..self.width {
                let (query, key) = (q + c * self.tokens + asks, k + c * self.tokens + token);
                dqkv[query] += of_score * qkv[key];
                dqkv[key] += of_score * qkv[query];
            }
        }
    }

    pub fn forward(&self, qkv: &[f64]) -> Vec<f64> {
        let mut y = vec![0.0; qkv.len() / 3];
        for (head, y) in self.all(qkv.len()).zip(y.chunks_exact_mut(self.len())) {
            for asks in 0..self.tokens {
                let p = self.probabilities(qkv, head, asks);
                for c in 0..self.width {
                    let values = &qkv[head.0[2] + c * self.tokens..][..self.tokens];
                    y[c * self.tokens + asks] = p.iter().zip(values).map(|(p, v)| p * v).sum();
                }
            }
        }
        y
    }

    pub fn backward(&self, qkv: &[f64], g: &[f64]) -> Vec<f64> {
        let mut dqkv = vec![0.0; qkv.len()];
        for (head, g) in self.all(qkv.len()).zip(g.chunks_exact(self.len())) {
            let value = |c: usize, token: usize| head.0[2] + c * self.tokens + token;
            for asks in 0..self.tokens {
                let p = self.probabilities(qkv, head, asks);
                let at = |c: usize| g[c * self.tokens + asks];
                for (token, p) in p.iter().enumerate() {
                    (0..self.width).for_each(|c| dqkv[value(c, token)] += p * at(c));
                }
                let of_p = |token| (0..self.width).map(|c| at(c) * qkv[value(c, token)]).sum();
                let of_p: Vec<f64> = (0..self.tokens).map(of_p).collect();
                self.probabilities_backward(qkv, head, asks, &of_p, &mut dqkv);
            }
        }
        dqkv
    }

    /// What the first token sees of the others, mean over heads.
    pub fn class_map(&self, qkv: &[f64]) -> Vec<f64> {
        let others = self.tokens - 1;
        let mut map = vec![0.0; qkv.len() / (3 * self.heads * self.len()) * others];
        for (number, head) in self.all(qkv.len()).enumerate() {
            let seen = self.probabilities(qkv, head, 0);
            let map = &mut map[number / self.heads * others..][..others];
            map.iter_mut().zip(&seen[1..]).for_each(|(map, p)| *map += p / self.heads as f64);
        }
        map
    }

    pub fn class_map_backward(&self, qkv: &[f64], g: &[f64]) -> Vec<f64> {
        let others = self.tokens - 1;
        let mut dqkv = vec![0.0; qkv.len()];
        for (number, head) in self.all(qkv.len()).enumerate() {
            let g = g[number / self.heads * others..][..others].iter().map(|g| g / self.heads as f64);
            let of_p: Vec<f64> = std::iter::once(0.0).chain(g).collect();
            self.probabilities_backward(qkv, head, 0, &of_p, &mut dqkv);
        }
        dqkv
    }
}
