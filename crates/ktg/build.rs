//! Makes a binary with the feature `torch` (`ktg`, `ktg-bench`) find PyTorch's library where the build has found it.

#[path = "src/torch_version.rs"]
mod torch_version;

use std::path::Path;

fn main() {
    // Not whenever a file of the package changes.
    println!("cargo:rerun-if-env-changed=DEP_TCH_LIBTORCH_LIB");
    // Of torch-sys, which links the library.
    let Ok(library) = std::env::var("DEP_TCH_LIBTORCH_LIB") else { return };
    println!("cargo:rustc-link-arg=-Wl,-rpath,{library}");
    if let Some(version) = torch_version::of_libraries(Path::new(&library)) {
        println!("cargo:rustc-env=KTG_TORCH_VERSION={version}");
    }
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        return;
    }
    // With another PyTorch, the program shall come as far as to say so: functions are looked for when they are called.
    println!("cargo:rustc-link-arg=-Wl,-z,lazy");
    println!("cargo:rustc-link-search=native={library}");
    // The part for GPUs, NVIDIA's or AMD's, registers itself when it is loaded: nothing calls it, and linkers would
    // leave it out.
    for part in ["torch_cuda", "torch_hip"] {
        if Path::new(&library).join(format!("lib{part}.so")).exists() {
            println!("cargo:rustc-link-arg=-Wl,--no-as-needed");
            println!("cargo:rustc-link-arg=-l{part}");
            println!("cargo:rustc-link-arg=-Wl,--as-needed");
        }
    }
}
