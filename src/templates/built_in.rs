//! Templates that are compiled into the binary, so that the binary needs no files.

use talus_actors::domain::ids::TemplateId;

/// Ids and texts of the files in `config/templates`.
pub(super) const FILES: [(&str, &str); 3] = [
    ("novel", include_str!("../../config/templates/novel.yaml")),
    (
        "software_project",
        include_str!("../../config/templates/software_project.yaml"),
    ),
    (
        "vehicle_restoration",
        include_str!("../../config/templates/vehicle_restoration.yaml"),
    ),
];

pub(super) fn ids() -> impl Iterator<Item = TemplateId> {
    FILES.iter().filter_map(|(id, _)| id.parse().ok())
}

pub(super) fn text(id: &TemplateId) -> Option<&'static str> {
    let mut files = FILES.iter();
    files.find(|(known, _)| *known == id.as_str()).map(|(_, text)| *text)
}
