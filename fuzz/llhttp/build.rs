//! Compiles the parser that lies in `c/`.

fn main() {
    println!("cargo::rerun-if-changed=c");
    cc::Build::new()
        .files(["c/api.c", "c/http.c", "c/llhttp.c"])
        .include("c")
        .std("c99")
        .warnings(false)
        .compile("llhttp");
}
