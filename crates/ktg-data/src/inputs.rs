//! Image files as networks see them.

use crate::{Error, Image, Pipeline, Purpose, parallel, rng};
use std::path::{Path, PathBuf};

/// What `pipeline` makes of each of some image files, in their order, computed on one thread a processor. Photos are turned as
/// EXIF says if they shall be `upright`; `seed` is that of the pipeline's random steps, if it has any.
pub fn read_inputs(paths: &[PathBuf], pipeline: &Pipeline, upright: bool, seed: u64) -> Vec<Result<Vec<f32>, Error>> {
    parallel::map(paths.len(), 0, |i| read_input(&paths[i], pipeline, upright, seed))
}

fn read_input(path: &Path, pipeline: &Pipeline, upright: bool, seed: u64) -> Result<Vec<f32>, Error> {
    let image = Image::read(path, pipeline.channels(), upright)?;
    let mut input = Vec::with_capacity(pipeline.values());
    pipeline.append(&image, &mut rng(seed, Purpose::Augment, 0, 0), &mut input).map_err(|error| match error {
        Error::Setting(problem) => Error::image(path.display().to_string(), problem),
        other => other,
    })?;
    Ok(input)
}
