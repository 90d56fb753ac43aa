//! Undo and redo: selects the step of the history and reverses it on the present document.

use super::{Change, reversal::Reversal};
use crate::{
    command::{AuthorKey, Context, Scope},
    rejection::Rejection,
    session::Session,
};

pub(super) fn undo<'a>(
    session: &'a Session,
    context: &Context,
    scope: Scope,
    force: bool,
) -> Result<Change<'a>, Rejection> {
    let author = author_key(context, scope)?;
    let step = session.history().next_undo_in(scope, author.as_ref());
    let step = step.ok_or(Rejection::NothingToUndo)?;
    let events = Reversal::of_step(session, step, force).run(step.undo_changes())?;
    let step = Some(step);
    Ok(Change { events, step })
}

pub(super) fn redo<'a>(
    session: &'a Session,
    context: &Context,
    scope: Scope,
    force: bool,
) -> Result<Change<'a>, Rejection> {
    let author = author_key(context, scope)?;
    let step = session.history().next_redo_in(scope, author.as_ref());
    let step = step.ok_or(Rejection::NothingToRedo)?;
    let events = Reversal::of_undo(session, step, force).run(step.redo_changes())?;
    let step = Some(step);
    Ok(Change { events, step })
}

/// Returns the key of the command's author. Scope `mine` requires an author.
fn author_key(context: &Context, scope: Scope) -> Result<Option<AuthorKey>, Rejection> {
    let author = context.author.key();
    if scope == Scope::Mine && author.is_none() {
        return Err(Rejection::InvalidRequest {
            field: "scope",
            reason: "\"mine\" requires an author, and the request names neither a client nor a user".into(),
        });
    }
    Ok(author)
}
