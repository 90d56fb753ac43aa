//! File access confined to a directory, for every link and name in the directory.

use std::{
    fs::Metadata,
    future::Future,
    io,
    path::{Component, Path, PathBuf},
    pin::Pin,
    sync::Arc,
};

use tower_http::services::fs::{Backend, TokioBackend, TokioFile};

/// Opens regular files below a directory. A link is followed; a link that leads out of the directory counts as absent.
/// Names that begin with a dot count as absent too: `.git` and `.env` exist in many directories of pages.
#[derive(Debug, Clone)]
pub(super) struct Confined {
    root: Arc<Path>,
}

impl Confined {
    pub fn to(root: &Path) -> Self {
        Self { root: root.into() }
    }

    /// Resolves a path relative to the directory. The directory itself may be a link whose target changes, as in
    /// deployments that swap releases. The function reads the disk, so it runs on a blocking thread.
    fn find(&self, path: &Path) -> io::Result<(PathBuf, Metadata)> {
        let nothing = || io::Error::from(io::ErrorKind::NotFound);
        if !is_plain(path) {
            return Err(nothing());
        }
        let root = self.root.canonicalize()?;
        // A link cycle or a name that is too long counts as absent too.
        let found = root.join(path).canonicalize().map_err(|_| nothing())?;
        let below = found.strip_prefix(&root).map_err(|_| nothing())?;
        let metadata = found.metadata()?;
        // Opening a pipe would block until a process writes to it.
        let is_readable = metadata.is_file() || metadata.is_dir();
        if !is_readable || !is_plain(below) {
            return Err(nothing());
        }
        Ok((found, metadata))
    }

    async fn find_blocking(self, path: PathBuf) -> io::Result<(PathBuf, Metadata)> {
        let found = tokio::task::spawn_blocking(move || self.find(&path)).await;
        found.map_err(io::Error::other)?
    }
}

/// Returns true for a path that only descends, through names that do not begin with a dot.
fn is_plain(path: &Path) -> bool {
    path.components().all(|part| match part {
        Component::Normal(name) => !name.as_encoded_bytes().starts_with(b"."),
        Component::CurDir => true,
        Component::Prefix(_) | Component::RootDir | Component::ParentDir => false,
    })
}

type Io<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

impl Backend for Confined {
    type File = TokioFile;
    type Metadata = Metadata;
    type OpenFuture = Io<TokioFile>;
    type MetadataFuture = Io<Metadata>;

    fn open(&self, path: PathBuf) -> Self::OpenFuture {
        let confined = self.clone();
        Box::pin(async move {
            let (found, _) = confined.find_blocking(path).await?;
            TokioBackend.open(found).await
        })
    }

    fn metadata(&self, path: PathBuf) -> Self::MetadataFuture {
        let confined = self.clone();
        Box::pin(async move { Ok(confined.find_blocking(path).await?.1) })
    }
}
