//! Softmax attention among tokens, and the map of the class token.

use ktg_kernels::Attention;

#[derive(Clone, Copy, Debug)]
pub struct Tokens {
    pub batch: usize,
    pub heads: usize,
    pub width: usize,
    pub tokens: usize,
}

impl Tokens {
    pub fn shape(&self) -> Attention {
        Attention::new(self.batch, self.heads, self.width, self.tokens).expect("a valid shape")
    }

    /// All heads of all images.
    fn heads(self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.batch).flat_map(move |image| (0..self.heads).map(move |head| (image, head)))
    }

    /// Place of a value of queries (0), keys (1) or values (2).
    fn place(&self, which: usize, (image, head): (usize, usize), channel: usize, token: usize) -> usize {
        (((image * 3 + which) * self.heads + head) * self.width + channel) * self.tokens + token
    }

    /// Place of a value of the result.
    fn result(&self, (image, head): (usize, usize), channel: usize, token: usize) -> usize {
        ((image * self.heads + head) * self.width + channel) * self.tokens + token
    }

    fn scale(&self) -> f64 {
        1.0 / (self.width as f64).sqrt()
    }

    /// What token `query` sees of all tokens.
    fn probabilities(&self, qkv: &[f64], head: (usize, usize), query: usize) -> Vec<f64> {
        let value = |which, c, token| qkv[self.place(which, head, c, token)];
        let score = |key| (0..self.width).map(|c| value(0, c, query) * value(1, c, key)).sum::<f64>() * self.scale();
        let scores: Vec<f64> = (0..self.tokens).map(score).collect();
        let most = scores.iter().fold(f64::NEG_INFINITY, |most, score| most.max(*score));
        let powers: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
        let sum: f64 = powers.iter().sum();
        powers.iter().map(|power| power / sum).collect()
    }

    pub fn forward(&self, qkv: &[f64]) -> Vec<f64> {
        let mut result = vec![0.0; qkv.len() / 3];
        for head in self.heads() {
            for query in 0..self.tokens {
                let p = self.probabilities(qkv, head, query);
                for c in 0..self.width {
                    let terms = p.iter().enumerate().map(|(key, p)| p * qkv[self.place(2, head, c, key)]);
                    result[self.result(head, c, query)] = terms.sum();
                }
            }
        }
        result
    }

    /// Adds to the gradients of queries and keys what the gradient of the probabilities of one query makes of them.
    fn add_scores(&self, qkv: &[f64], head: (usize, usize), query: usize, of_p: &[f64], to: &mut [f64]) {
        let p = self.probabilities(qkv, head, query);
        let mean: f64 = p.iter().zip(of_p).map(|(p, g)| p * g).sum();
        for key in 0..self.tokens {
            let of_score = p[key] * (of_p[key] - mean) * self.scale();
            for c in 0..self.width {
                let (q, k) = (self.place(0, head, c, query), self.place(1, head, c, key));
                to[q] += of_score * qkv[k];
                to[k] += of_score * qkv[q];
            }
        }
    }

    /// Gradient of queries, keys and values.
    pub fn backward(&self, qkv: &[f64], gradient: &[f64]) -> Vec<f64> {
        let mut result = vec![0.0; qkv.len()];
        for head in self.heads() {
            for query in 0..self.tokens {
                let p = self.probabilities(qkv, head, query);
                let mut of_p = vec![0.0; self.tokens];
                for (key, c) in (0..self.tokens).flat_map(|key| (0..self.width).map(move |c| (key, c))) {
                    let g = gradient[self.result(head, c, query)];
                    of_p[key] += g * qkv[self.place(2, head, c, key)];
                    result[self.place(2, head, c, key)] += g * p[key];
                }
                self.add_scores(qkv, head, query, &of_p, &mut result);
            }
        }
        result
    }

    pub fn class_map(&self, qkv: &[f64]) -> Vec<f64> {
        let others = self.tokens - 1;
        let mut map = vec![0.0; self.batch * others];
        for head in self.heads() {
            let p = self.probabilities(qkv, head, 0);
            (0..others).for_each(|i| map[head.0 * others + i] += p[i + 1] / self.heads as f64);
        }
        map
    }

    pub fn class_backward(&self, qkv: &[f64], gradient: &[f64]) -> Vec<f64> {
        let others = self.tokens - 1;
        let mut result = vec![0.0; qkv.len()];
        for head in self.heads() {
            let of_map = gradient[head.0 * others..][..others].iter().map(|g| g / self.heads as f64);
            let of_p: Vec<f64> = std::iter::once(0.0).chain(of_map).collect();
            self.add_scores(qkv, head, 0, &of_p, &mut result);
        }
        result
    }
}
