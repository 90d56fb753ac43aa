//! Packages of the clients from npm and PyPI, pinned by the lock files in `tests/clients`, and installed once.

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// Files of the repository that are copied to the build folder before packages are installed beside them. The sources
/// stay as they are.
struct Copied {
    /// Folder of the originals.
    from: &'static str,
    /// Folder of the copy, within the build folder.
    to: &'static str,
    /// Files to copy, and folders that are copied whole.
    names: &'static [&'static str],
}

const CLIENTS: Copied = Copied {
    from: "tests/clients",
    to: "clients",
    names: &[
        ".npmrc",
        "package.json",
        "package-lock.json",
        "requirements.txt",
        "driver.mjs",
        "driver.py",
        "vectors.mjs",
    ],
};

const WEB: Copied = Copied {
    from: "docs",
    to: "web",
    names: &[".npmrc", "package.json", "package-lock.json", "client", "examples/live"],
};

/// Names of generated folders, which are not copied.
const GENERATED: [&str; 2] = ["node_modules", "dist"];

impl Copied {
    fn folder(&self) -> PathBuf {
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(self.to)
    }

    /// Returns the paths of the files to copy, relative to the folder.
    fn files(&self) -> Vec<PathBuf> {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(self.from);
        let all = self.names.iter().flat_map(|name| files_below(&from, Path::new(name)));
        all.collect()
    }
}

fn files_below(folder: &Path, name: &Path) -> Vec<PathBuf> {
    let path = folder.join(name);
    if GENERATED.iter().any(|made| name.ends_with(made)) {
        return Vec::new();
    }
    if !path.is_dir() {
        return vec![name.to_owned()];
    }
    let entries = fs::read_dir(&path).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| files_below(folder, &name.join(entry.file_name())))
        .collect()
}

/// Returns the folder of the clients, with the packages of JavaScript.
pub fn node() -> &'static Path {
    static INSTALLED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    installed(&INSTALLED, &CLIENTS, "package-lock.json", npm)
}

/// Returns the folder of the client library and of the live example, with their packages.
pub fn web() -> &'static Path {
    static INSTALLED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    installed(&INSTALLED, &WEB, "package-lock.json", npm)
}

/// Returns the folder of the clients, with Python and its packages in `.venv`.
pub fn python() -> &'static Path {
    static INSTALLED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    installed(&INSTALLED, &CLIENTS, "requirements.txt", |folder| {
        run("python3", ["-m", "venv", "--clear", ".venv"], folder)?;
        let pip = folder.join(".venv/bin/pip");
        run(pip, ["install", "--quiet", "-r", "requirements.txt"], folder)
    })
}

fn npm(folder: &Path) -> Result<(), String> {
    run("node", ["--version"], folder)?;
    run("npm", ["ci", "--no-audit", "--no-fund"], folder)
}

fn installed(
    once: &'static OnceLock<Result<PathBuf, String>>,
    copied: &Copied,
    lock_file: &str,
    install: impl FnOnce(&Path) -> Result<(), String>,
) -> &'static Path {
    match once.get_or_init(|| install_once(copied, lock_file, install)) {
        Ok(folder) => folder,
        Err(reason) => unreachable!("the tests with real clients need node, npm, python3 and its venv: {reason}"),
    }
}

/// Installs the packages, unless a process has already done so for the same lock file.
fn install_once(
    copied: &Copied,
    lock_file: &str,
    install: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let folder = copied.folder();
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let lock = File::create(folder.join("installing")).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    let files = copied.files();
    for name in &files {
        copy_if_changed(copied.from, name, &folder)?;
    }
    // A file of an earlier build that the repository has no more would still be tested.
    for name in copied
        .names
        .iter()
        .flat_map(|name| files_below(&folder, Path::new(name)))
    {
        if !files.contains(&name) {
            fs::remove_file(folder.join(&name)).map_err(|error| format!("{}: {error}", name.display()))?;
        }
    }
    let wanted = fs::read(folder.join(lock_file)).map_err(|error| error.to_string())?;
    let done = folder.join(format!("{lock_file}.installed"));
    if fs::read(&done).ok().as_ref() != Some(&wanted) {
        install(&folder)?;
        fs::write(&done, &wanted).map_err(|error| error.to_string())?;
    }
    Ok(folder)
}

/// Copies a file if it has changed. The new copy replaces the old one atomically, because another process may be
/// reading it.
fn copy_if_changed(from: &str, name: &Path, folder: &Path) -> Result<(), String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(from).join(name);
    let wanted = fs::read(&source).map_err(|error| format!("{}: {error}", source.display()))?;
    let target = folder.join(name);
    if fs::read(&target).ok().as_ref() == Some(&wanted) {
        return Ok(());
    }
    let new = target.with_extension("new");
    let parent = target.parent().unwrap_or(folder);
    fs::create_dir_all(parent)
        .and_then(|()| fs::write(&new, &wanted))
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
