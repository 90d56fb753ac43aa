//! Files below a directory and nothing else, whatever links and names lie in it.

use std::{
    fs::Metadata,
    future::Future,
    io,
    path::{Component, Path, PathBuf},
    pin::Pin,
    sync::Arc,
};

use tower_http::services::fs::{Backend, TokioBackend, TokioFile};

/// Opens regular files below a directory. A link counts as what it leads to, and one that leads out of the directory as
/// nothing. Names that begin with a dot are nothing either: `.git` and `.env` lie in many a directory of pages.
#[derive(Debug, Clone)]
pub(super) struct Confined {
    root: Arc<Path>,
}

impl Confined {
    pub fn to(root: &Path) -> Self {
        Self { root: root.into() }
    }

    /// Finds what is at a path, relative to the directory. The directory itself may be a link that changes: releases are
    /// swapped like that. It asks the disk, so it is no work for a thread that serves.
    fn find(&self, path: &Path) -> io::Result<(PathBuf, Metadata)> {
        let nothing = || io::Error::from(io::ErrorKind::NotFound);
        if !is_plain(path) {
            return Err(nothing());
        }
        let root = self.root.canonicalize()?;
        // A link that leads in a circle, or a name that is too long, leads nowhere either.
        let found = root.join(path).canonicalize().map_err(|_| nothing())?;
        let below = found.strip_prefix(&root).map_err(|_| nothing())?;
        let metadata = found.metadata()?;
        // Opening a pipe would wait for whoever writes to it.
        let is_readable = metadata.is_file() || metadata.is_dir();
        if !is_readable || !is_plain(below) {
            return Err(nothing());
        }
        Ok((found, metadata))
    }

    async fn look(self, path: PathBuf) -> io::Result<(PathBuf, Metadata)> {
        let looked = tokio::task::spawn_blocking(move || self.find(&path)).await;
        looked.map_err(io::Error::other)?
    }
}

/// Tests for a path that leads down only, by names that do not begin with a dot.
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
            let (found, _) = confined.look(path).await?;
            TokioBackend.open(found).await
        })
    }

    fn metadata(&self, path: PathBuf) -> Self::MetadataFuture {
        let confined = self.clone();
        Box::pin(async move { Ok(confined.look(path).await?.1) })
    }
}
