//! Properties that features add to a type.

use super::document::{NodeTypeDocument, OptionDocument, PropertyDocument};
use crate::domain::value::{Number, Value};

const DAYS: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];

/// The properties that a type's features add. One that the template has of its own stays as it is, and the feature's
/// goes by another slug.
pub(super) fn added(node_type: &NodeTypeDocument, slug: &str) -> Vec<PropertyDocument> {
    let has = |feature: &str| node_type.features.iter().any(|own| **own == *feature);
    let mut added = Vec::new();
    if has("scheduling") {
        added.extend(scheduling().map(|property| beside(node_type, "scheduling", property)));
    }
    if has("budgeting") {
        added.extend(budgeting().map(|property| beside(node_type, "budgeting", property)));
    }
    // A type called so is one, whether it says so or not.
    if has("is_person") || slug == "person" {
        added.extend(person().map(|property| beside(node_type, "is_person", property)));
    }
    added.into_iter().flatten().collect()
}

/// The property by a slug that is free; nothing if an earlier version of the template has it from the same feature.
fn beside(node_type: &NodeTypeDocument, feature: &str, property: PropertyDocument) -> Option<PropertyDocument> {
    match node_type.properties.iter().find(|own| own.id == property.id) {
        None => Some(property),
        Some(own) if own.injected => None,
        Some(_) => {
            let id = property.id.as_deref().unwrap_or_default();
            Some(PropertyDocument {
                id: Some(format!("_feat_{feature}_{id}").into()),
                role: property.id.clone(),
                ..property
            })
        }
    }
}

fn property(id: &str, label: &str, kind: &str, group: &str) -> PropertyDocument {
    PropertyDocument {
        id: Some(id.into()),
        label: Some(label.into()),
        kind: Some(kind.into()),
        ui_group: Some(group.into()),
        injected: true,
        ..PropertyDocument::default()
    }
}

fn scheduling() -> impl Iterator<Item = PropertyDocument> {
    const GROUP: &str = "Schedule";
    let zero = || Some(Value::Number(Number::Int(0)));
    let option = |name: &str, indicator: &str| OptionDocument {
        name: Some(name.into()),
        id: None,
        indicator_id: Some(indicator.into()),
    };
    [
        property("start_date", "Start Date", "date", GROUP),
        property("end_date", "End Date", "date", GROUP),
        property("assigned_to", "Assigned To", "node_reference", GROUP),
        PropertyDocument {
            default: zero(),
            ..property("estimated_hours", "Estimated Hours", "number", GROUP)
        },
        PropertyDocument {
            default: zero(),
            ..property("actual_hours", "Actual Hours", "number", GROUP)
        },
        PropertyDocument {
            default: Some(Value::Object(std::sync::Arc::default())),
            ..property("allocations", "Allocations", "object", GROUP)
        },
        PropertyDocument {
            indicator_set: Some("status".into()),
            options: Some(vec![
                option("To Do", "empty"),
                option("In Progress", "partial"),
                option("Done", "filled"),
            ]),
            ..property("status", "Status", "select", GROUP)
        },
    ]
    .into_iter()
}

fn budgeting() -> impl Iterator<Item = PropertyDocument> {
    const GROUP: &str = "Budget";
    [
        property("estimated_cost", "Estimated Cost", "currency", GROUP),
        property("actual_cost", "Actual Cost", "currency", GROUP),
    ]
    .into_iter()
}

fn person() -> impl Iterator<Item = PropertyDocument> {
    const GROUP: &str = "Capacity";
    let general = [
        ("hourly_rate", "Hourly Rate"),
        ("daily_capacity", "Daily Capacity"),
        ("overtime_capacity", "Overtime Capacity"),
    ];
    let daily = [
        ("capacity", "Capacity"),
        ("overtime_capacity", "Overtime Capacity"),
        ("hourly_rate", "Hourly Rate"),
    ];
    let general = general
        .into_iter()
        .map(|(id, label)| property(id, label, "number", GROUP));
    let daily = daily.into_iter().flat_map(|(id, label)| {
        DAYS.iter().map(move |day| {
            let (first, rest) = day.split_at(1);
            property(
                &format!("{id}_{day}"),
                &format!("{label} {}{rest}", first.to_uppercase()),
                "number",
                GROUP,
            )
        })
    });
    general.chain(daily)
}
