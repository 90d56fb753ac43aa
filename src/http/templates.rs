//! Templates over REST.

use axum::{Json, extract::State};
use talus_actors::domain::ids::TemplateId;

use crate::{
    http_kit::{ApiResult, AppState, body::PathText},
    templates::TemplateLoadError,
    wire::{
        ErrorCode,
        error::{ApiError, internal},
        template::{Schema, TemplateList},
    },
};

/// `GET /templates`
pub(super) async fn list(State(state): State<AppState>) -> ApiResult<Json<TemplateList>> {
    let entries = state.blocking(|state| state.templates.list()).await?;
    Ok(Json(TemplateList::from(entries.map_err(|error| internal(&error))?)))
}

/// `GET /templates/{id}/schema`
pub(super) async fn schema(State(state): State<AppState>, PathText(id): PathText) -> ApiResult<Json<Schema>> {
    let id: TemplateId = id.parse().map_err(|_| template_not_found(&id))?;
    let loaded = state
        .blocking(move |state| state.templates.load(&id).map_err(|error| failure(id.as_str(), &error)))
        .await?;
    Ok(Json(Schema::from(&*loaded?)))
}

/// Converts the reason why a template cannot be loaded to an error of the protocol.
pub(super) fn failure(id: &str, error: &TemplateLoadError) -> ApiError {
    match error {
        TemplateLoadError::NotFound => template_not_found(id),
        TemplateLoadError::Invalid { message } => {
            ApiError::new(ErrorCode::TemplateInvalid, format!("template {id}: {message}")).with("template_id", id)
        }
    }
}

fn template_not_found(id: &str) -> ApiError {
    ApiError::new(ErrorCode::TemplateNotFound, format!("template {id:?} does not exist"))
}
