"""Builds the wasm nodes into ``mesh/_assets/nodes``: ``python rust_nodes/build.py``. Needs cargo 1.85 or later."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
NODES = HERE.parent / "mesh" / "_assets" / "nodes"
MODULES = ("basics", "audio")
TARGET = "wasm32-unknown-unknown"

# Debian's Rust for the web, where rustup is absent or cannot download: it builds the standard library from source.
DEBIAN_PACKAGES = ("rustc-web", "cargo-web", "rust-web-src", "lld")
DEBIAN_CARGO = ("/usr/bin/cargo", "-Z", "build-std=std,panic_abort")
DEBIAN_ENVIRONMENT = {
    "RUSTC": "/usr/bin/rustc",
    "RUSTC_BOOTSTRAP": "1",
    # replaces the flags of .cargo/config.toml, so it repeats the memory maximum
    "RUSTFLAGS": "-C link-arg=--max-memory=268435456 -C linker=wasm-ld -C linker-flavor=wasm-ld",
}


def main() -> None:
    cargo, environment = toolchain()
    crates = [argument for name in MODULES for argument in ("--package", name)]
    build = [*cargo, "build", "--quiet", "--release", "--locked", "--target", TARGET, *crates]
    if subprocess.run(build, cwd=HERE, env=os.environ | environment).returncode:
        sys.exit("Building the wasm nodes failed; cargo's own words are above.")
    install(HERE / os.environ.get("CARGO_TARGET_DIR", "target") / TARGET / "release")


def toolchain() -> tuple[tuple[str, ...], dict[str, str]]:
    """The cargo that can build for the web, and what it needs in its environment."""
    if has_target() or (shutil.which("rustup") and run("rustup", "target", "add", TARGET) and has_target()):
        return ("cargo",), {}
    if not has_debian_rust() and shutil.which("apt-get"):
        print(f"Rust here has no {TARGET}: installing Debian's {' '.join(DEBIAN_PACKAGES)}", file=sys.stderr)
        as_root = str(HERE.parent / "deploy" / "as-root.sh")
        run(as_root, "apt-get", "update", "-qq")
        run(as_root, "apt-get", "install", "-y", "-qq", *DEBIAN_PACKAGES)
    if has_debian_rust():
        print("Building the standard library for the web too: a minute the first time", file=sys.stderr)
        return DEBIAN_CARGO, DEBIAN_ENVIRONMENT
    sys.exit(
        f"No Rust here can build for {TARGET}. Either install rustup (https://rustup.rs), or, on Debian, run\n"
        f"    apt-get install {' '.join(DEBIAN_PACKAGES)}\n"
        "and then this command again."
    )


def has_debian_rust() -> bool:
    return Path("/usr/lib/rustlib/src/rust/library/std").is_dir() and shutil.which("wasm-ld") is not None


def has_target() -> bool:
    """Whether the ``rustc`` that cargo uses here has the standard library of the target."""
    if not shutil.which("cargo") or not shutil.which("rustc"):
        return False
    library = subprocess.run(
        ["rustc", "--print", "target-libdir", "--target", TARGET], cwd=HERE, capture_output=True, text=True
    )
    return library.returncode == 0 and any(Path(library.stdout.strip()).glob("libstd-*"))


def run(*command: str) -> bool:
    return subprocess.run(command, cwd=HERE, stdout=sys.stderr).returncode == 0


def install(release: Path) -> None:
    """Puts the modules in place, each at once, and removes whatever else is there."""
    NODES.mkdir(parents=True, exist_ok=True)
    for name in MODULES:
        built, installed = release / f"{name}.wasm", NODES / f"{name}.wasm"
        if not installed.is_file() or installed.read_bytes() != built.read_bytes():
            partial = NODES / f".{name}.wasm"
            shutil.copyfile(built, partial)
            partial.replace(installed)
    for path in NODES.iterdir():
        if path.stem not in MODULES or path.suffix != ".wasm":
            path.unlink() if not path.is_dir() else shutil.rmtree(path)


if __name__ == "__main__":
    main()
