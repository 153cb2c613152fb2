//! Jobs side by side.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Result, anyhow};

/// Works off jobs, so many at a time, each on its share of the cores, until all are done or `stop` is set. Returns those
/// that `work` could not do now (`false`).
///
/// # Errors
/// The first of `work`; it sets `stop`, too.
pub fn run_jobs<'a, J: Sync>(
    jobs: &[&'a J],
    at_once: usize,
    stop: &AtomicBool,
    work: impl Fn(&J) -> Result<bool> + Sync,
) -> Result<Vec<&'a J>> {
    let at_once = at_once.min(jobs.len()).max(1);
    let threads = (rayon::current_num_threads() / at_once).max(1);
    let next = AtomicUsize::new(0);
    let worker = || -> Result<Vec<&'a J>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|e| anyhow!("cannot start a thread: {e}"))?;
        let mut left = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let Some(&job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
            if !pool.install(|| work(job))? {
                left.push(job);
            }
        }
        Ok(left)
    };
    let careful = || worker().inspect_err(|_| stop.store(true, Ordering::Relaxed));
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..at_once).map(|_| scope.spawn(careful)).collect();
        let mut left = Vec::new();
        let mut failure = None;
        for handle in handles {
            match handle.join() {
                Ok(Ok(jobs)) => left.extend(jobs),
                Ok(Err(error)) => failure = failure.or(Some(error)),
                Err(_) => failure = Some(anyhow!("a thread broke down")),
            }
        }
        failure.map_or(Ok(left), Err)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_is_done_once_and_what_cannot_be_done_comes_back() {
        let jobs: Vec<usize> = (0..50).collect();
        let jobs: Vec<&usize> = jobs.iter().collect();
        let done: Vec<AtomicUsize> = (0..50).map(|_| AtomicUsize::new(0)).collect();
        let stop = AtomicBool::new(false);
        let mut left = run_jobs(&jobs, 4, &stop, |job| {
            done[*job].fetch_add(1, Ordering::Relaxed);
            Ok(job % 10 != 7)
        })
        .unwrap();
        left.sort();
        assert_eq!(left, [&7, &17, &27, &37, &47]);
        assert!(done.iter().all(|count| count.load(Ordering::Relaxed) == 1));
    }

    #[test]
    fn a_failure_ends_all() {
        let jobs: Vec<usize> = (0..1000).collect();
        let jobs: Vec<&usize> = jobs.iter().collect();
        let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
        let error = run_jobs(&jobs, 2, &stop, |job| {
            done.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(std::time::Duration::from_millis(1));
            if *job == 3 { Err(anyhow!("job 3")) } else { Ok(true) }
        });
        assert_eq!(error.unwrap_err().to_string(), "job 3");
        assert!(stop.load(Ordering::Relaxed) && done.load(Ordering::Relaxed) < 100);
    }
}
