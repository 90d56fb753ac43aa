//! What the clients need, installed once: packages from npm and PyPI, as the lock files in `tests/clients` say.

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// What belongs into the folder of the clients.
const FILES: &[&str] = &[
    ".npmrc",
    "package.json",
    "package-lock.json",
    "requirements.txt",
    "driver.mjs",
    "driver.py",
    "vectors.mjs",
];

/// A copy of `tests/clients`, kept with the other products of the build, with what is installed beside it.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients")
}

/// The folder of the clients, with the packages of JavaScript in it.
pub fn node() -> &'static Path {
    static INSTALLED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    installed(&INSTALLED, "package-lock.json", |folder| {
        run("node", ["--version"], folder)?;
        run("npm", ["ci", "--no-audit", "--no-fund"], folder)
    })
}

/// The folder of the clients, with Python and its packages in `.venv`.
pub fn python() -> &'static Path {
    static INSTALLED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    installed(&INSTALLED, "requirements.txt", |folder| {
        run("python3", ["-m", "venv", "--clear", ".venv"], folder)?;
        let pip = folder.join(".venv/bin/pip");
        run(pip, ["install", "--quiet", "-r", "requirements.txt"], folder)
    })
}

fn installed(
    once: &'static OnceLock<Result<PathBuf, String>>,
    lock_file: &str,
    install: impl FnOnce(&Path) -> Result<(), String>,
) -> &'static Path {
    match once.get_or_init(|| install_once(lock_file, install)) {
        Ok(folder) => folder,
        Err(reason) => unreachable!("the tests with real clients need node, npm, python3 and its venv: {reason}"),
    }
}

/// Installs, unless that was done for the same lock file already, by whichever process.
fn install_once(lock_file: &str, install: impl FnOnce(&Path) -> Result<(), String>) -> Result<PathBuf, String> {
    let folder = folder();
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let lock = File::create(folder.join("installing")).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    for name in FILES {
        copy_if_changed(name, &folder)?;
    }
    let wanted = fs::read(folder.join(lock_file)).map_err(|error| error.to_string())?;
    let done = folder.join(format!("{lock_file}.installed"));
    if fs::read(&done).ok().as_ref() != Some(&wanted) {
        install(&folder)?;
        fs::write(&done, &wanted).map_err(|error| error.to_string())?;
    }
    Ok(folder)
}

/// Another process may be reading the old copy, so the new one takes its place whole.
fn copy_if_changed(name: &str, folder: &Path) -> Result<(), String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name);
    let wanted = fs::read(&source).map_err(|error| format!("{}: {error}", source.display()))?;
    let target = folder.join(name);
    if fs::read(&target).ok().as_ref() == Some(&wanted) {
        return Ok(());
    }
    let new = folder.join(format!("{name}.new"));
    fs::write(&new, &wanted)
        .and_then(|()| fs::rename(&new, &target))
        .map_err(|error| format!("{}: {error}", target.display()))
}

fn run<const N: usize>(program: impl AsRef<OsStr>, arguments: [&str; N], folder: &Path) -> Result<(), String> {
    let program = program.as_ref();
    let command = format!("{} {}", program.display(), arguments.join(" "));
    let output = Command::new(program).args(arguments).current_dir(folder).output();
    let output = output.map_err(|error| format!("{command}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command}: {}\n{said}", output.status))
}
