//! Compiles the one C file of ours, against the headers of the libjpeg that `mozjpeg-sys` compiles.

fn main() {
    let headers = std::env::var_os("DEP_JPEG_INCLUDE").expect("mozjpeg-sys says where its headers are");
    println!("cargo:rerun-if-changed=src/read.c");
    cc::Build::new().file("src/read.c").includes(std::env::split_paths(&headers)).warnings(true).compile("ktg_jpeg");
}
