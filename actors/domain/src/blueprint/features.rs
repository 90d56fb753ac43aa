//! Properties that features add to a type, with the predecessor's names, groups and order.
//!
//! A feature's property and the template's property that represents it are a single property. A template declares this
//! with `system_locked`, with `_macro_injected` after a feature was saved into the template, or by a slug that only a
//! feature generates.

use ecow::EcoString;

use super::document::{NodeTypeDocument, OptionDocument, PropertyDocument};
use crate::value::{Number, Value};

const SCHEDULING: &str = "scheduling";
const BUDGETING: &str = "budgeting";
const PERSON: &str = "is_person";

const DAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

/// Returns the features of a type without duplicates. The slug `person` implies the feature `is_person`.
pub(super) fn type_features(node_type: &NodeTypeDocument, slug: &str) -> Vec<EcoString> {
    let mut features: Vec<EcoString> = Vec::new();
    let implied = (slug == "person").then(|| PERSON.into());
    for feature in node_type.features.iter().cloned().chain(implied) {
        if !features.contains(&feature) {
            features.push(feature);
        }
    }
    features
}

/// Returns the numbered properties of a type: own properties, then the properties of features. The number of an own
/// property is its position in the template, for error messages.
pub(super) fn all_properties(node_type: &NodeTypeDocument, features: &[EcoString]) -> Vec<(usize, PropertyDocument)> {
    let mut properties = node_type.properties.clone();
    for feature in features {
        for property in feature_properties(feature) {
            merge_property(&mut properties, feature, property);
        }
    }
    let numbered = properties.into_iter().enumerate();
    numbered.filter(|(_, property)| !is_stale(property, features)).collect()
}

/// Ensures that a feature's property is present exactly once.
fn merge_property(properties: &mut Vec<PropertyDocument>, feature: &str, property: PropertyDocument) {
    let Some(slug) = property.id.clone() else { return };
    let separate_slug: EcoString = format!("_feat_{feature}_{slug}").into();
    let is_known_as = |own: &PropertyDocument| own.role.as_ref() == Some(&slug);
    let is_same = |own: &PropertyDocument| {
        own.id.as_ref() == Some(&slug) || own.id.as_ref() == Some(&separate_slug) || (own.injected && is_known_as(own))
    };
    let Some(at) = properties.iter().position(is_same) else {
        properties.push(property);
        return;
    };
    let own = &mut properties[at];
    let is_generated = own.injected || own.id.as_ref() == Some(&separate_slug) || is_known_as(own);
    if own.locked && is_generated {
        refresh(own, property);
    } else if own.locked || own.injected {
        fill_absent(own, property);
    } else {
        // The author's own property keeps its slug, and the feature's property gets a generated slug.
        let property = PropertyDocument {
            id: Some(separate_slug.clone()),
            role: Some(slug),
            ..property
        };
        match properties
            .iter_mut()
            .find(|own| own.id.as_ref() == Some(&separate_slug))
        {
            Some(there) => fill_absent(there, property),
            None => properties.push(property),
        }
    }
}

/// Updates a property that a feature was saved into the template as: the feature's present definition, with the saved
/// ids.
fn refresh(own: &mut PropertyDocument, property: PropertyDocument) {
    let saved = own.options.take().unwrap_or_default();
    let with_saved_id = |option: OptionDocument| {
        let same = saved.iter().find(|own| own.name == option.name);
        OptionDocument {
            id: same.and_then(|own| own.id.clone()),
            ..option
        }
    };
    let options = property.options.clone();
    *own = PropertyDocument {
        line: own.line,
        id: own.id.take(),
        uuid: own.uuid.take(),
        role: own.role.take(),
        options: options.map(|options| options.into_iter().map(with_saved_id).collect()),
        ..property
    };
}

/// Completes a property that represents the feature's property: the feature defines every absent field.
fn fill_absent(own: &mut PropertyDocument, property: PropertyDocument) {
    let is_alike = own.kind == property.kind;
    own.options = own.options.take().or(property.options);
    own.default = own.default.take().or_else(|| {
        let fits = match &property.default {
            Some(Value::Text(name)) => {
                let options = own.options.as_deref().unwrap_or_default();
                options.iter().any(|option| option.name.as_ref() == Some(name))
            }
            _ => true,
        };
        property.default.filter(|_| is_alike && fits)
    });
    own.role = own.role.take().or(property.role);
    own.required = own.required.or(property.required);
    own.indicator_set = own.indicator_set.take().or(property.indicator_set);
    own.ui_group = own.ui_group.take().or(property.ui_group);
}

/// Returns true for a saved property of a feature that the type no longer has.
fn is_stale(property: &PropertyDocument, features: &[EcoString]) -> bool {
    let is_of = |feature: &str| {
        let slugs = feature_properties(feature).into_iter().map(|property| property.id);
        slugs
            .into_iter()
            .any(|slug| slug == property.id || slug == property.role)
    };
    let removed = [SCHEDULING, BUDGETING, PERSON].into_iter();
    let mut removed = removed.filter(|known| !features.iter().any(|feature| feature == known));
    property.injected && property.locked && removed.any(is_of)
}

fn feature_properties(feature: &str) -> Vec<PropertyDocument> {
    match feature {
        SCHEDULING => scheduling(),
        BUDGETING => budgeting(),
        PERSON => person(),
        _ => Vec::new(),
    }
}

fn property(id: &str, label: &str, kind: &str, group: &str) -> PropertyDocument {
    PropertyDocument {
        id: Some(id.into()),
        label: Some(label.into()),
        kind: Some(kind.into()),
        ui_group: Some(group.into()),
        injected: true,
        locked: true,
        ..PropertyDocument::default()
    }
}

fn number(id: &str, label: &str, group: &str, default: i64) -> PropertyDocument {
    PropertyDocument {
        default: Some(Value::Number(Number::Int(default))),
        ..property(id, label, "number", group)
    }
}

fn scheduling() -> Vec<PropertyDocument> {
    const GROUP: &str = "Schedule";
    let option = |name: &str, indicator: &str| OptionDocument {
        name: Some(name.into()),
        indicator_id: Some(indicator.into()),
        ..OptionDocument::default()
    };
    vec![
        property("start_date", "Start Date", "date", GROUP),
        property("end_date", "End Date", "date", GROUP),
        property("assigned_to", "Assigned To", "node_reference", GROUP),
        number("estimated_hours", "Estimated Hours", GROUP, 0),
        number("actual_hours", "Actual Hours", GROUP, 0),
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
            default: Some(Value::text("To Do")),
            ..property("status", "Status", "select", GROUP)
        },
    ]
}

fn budgeting() -> Vec<PropertyDocument> {
    const GROUP: &str = "Financial";
    vec![
        property("estimated_cost", "Estimated Cost", "currency", GROUP),
        property("actual_cost", "Actual Cost", "currency", GROUP),
    ]
}

fn person() -> Vec<PropertyDocument> {
    const CAPACITY: &str = "Capacity";
    const OVERTIME: &str = "Overtime";
    const RATES: &str = "Rates";
    const HOURS_A_DAY: i64 = 8;
    let is_weekend = |day: &str| day.starts_with('S');
    let capacity = DAYS.iter().map(|day| PropertyDocument {
        required: Some(true),
        ..number(
            &format!("capacity_{}", day.to_lowercase()),
            &format!("Capacity {day} (Hours)"),
            CAPACITY,
            if is_weekend(day) { 0 } else { HOURS_A_DAY },
        )
    });
    let overtime = DAYS.iter().map(|day| {
        let id = format!("overtime_capacity_{}", day.to_lowercase());
        number(&id, &format!("Overtime {day} (Hours)"), OVERTIME, 0)
    });
    let of_all_days = [
        number("overtime_capacity", "Overtime Capacity (Hours)", OVERTIME, 0),
        number("daily_capacity", "Daily Capacity (Hours)", CAPACITY, HOURS_A_DAY),
        number("hourly_rate", "Hourly Rate", RATES, 0),
    ];
    let rates = DAYS.iter().map(|day| {
        let id = format!("hourly_rate_{}", day.to_lowercase());
        property(&id, &format!("Hourly Rate {day}"), "number", RATES)
    });
    capacity.chain(overtime).chain(of_all_days).chain(rates).collect()
}
