//! Makes a binary with the feature `torch` (`ktg`, `ktg-bench`) find PyTorch's library where the build has found it.

fn main() {
    // Not whenever a file of the package changes.
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    // Of torch-sys, which links the library.
    let Ok(library) = std::env::var("DEP_TCH_LIBTORCH_LIB") else { return };
    println!("cargo:rustc-link-arg=-Wl,-rpath,{library}");
    // The part for GPUs registers itself when it is loaded: nothing calls it, and linkers would leave it out.
    let cuda = std::path::Path::new(&library).join("libtorch_cuda.so");
    if cuda.exists() {
        println!("cargo:rustc-link-search=native={library}");
        println!("cargo:rustc-link-arg=-Wl,--no-as-needed");
        println!("cargo:rustc-link-arg=-ltorch_cuda");
        println!("cargo:rustc-link-arg=-Wl,--as-needed");
    }
}
