//! Round trips of every stored type through its serialized form.

use std::fmt::Debug;

use proptest::prelude::*;
use serde::{Serialize, de::DeserializeOwned};
use talus_actors::domain::{
    command::Scope,
    testing::{stored, values},
    value::{Number, Value},
};

/// Checks the round trip through JSON text, compact and indented, and through bytes.
fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) -> Result<(), TestCaseError> {
    let text = serde_json::to_string(value)?;
    prop_assert_eq!(&serde_json::from_str::<T>(&text)?, value, "{}", text);
    prop_assert_eq!(&serde_json::from_slice::<T>(text.as_bytes())?, value, "{}", text);
    let pretty = serde_json::to_string_pretty(value)?;
    prop_assert_eq!(&serde_json::from_str::<T>(&pretty)?, value, "{}", pretty);
    let again = serde_json::to_string(&serde_json::from_str::<T>(&text)?)?;
    prop_assert_eq!(again, text);
    Ok(())
}

proptest! {
    /// Values: numbers keep all digits, and lists and objects with any keys are preserved.
    #[test]
    fn values(value in values::value()) {
        check(&value)?;
    }

    /// Numbers keep their spelling.
    #[test]
    fn numbers(number in values::number()) {
        prop_assert_eq!(serde_json::to_string(&number)?, number.to_string());
        let read: Value = serde_json::from_str(&number.to_string())?;
        prop_assert_eq!(&read, &Value::Number(number.clone()));
        let is_integer = !number.to_string().contains(['.', 'e', 'E']);
        prop_assert_eq!(number.is_integer(), is_integer);
        if let Number::Int(int) = number {
            prop_assert_eq!(read, Value::Number(Number::Int(int)));
        }
    }

    /// Documents keep the order of siblings and roots.
    #[test]
    fn documents(document in values::document()) {
        check(&document)?;
    }

    /// Records with every kind of event are preserved.
    #[test]
    fn records(recorded in stored::recorded()) {
        check(&recorded)?;
    }

    /// Headers of sessions are preserved.
    #[test]
    fn session_headers(header in stored::header()) {
        check(&header)?;
    }

    /// Ids and other single values are preserved.
    #[test]
    fn ids(
        node in stored::node_id(), command in stored::command_id(), session in stored::session_id(),
        epoch in stored::epoch(), seq in stored::seq(), timestamp in stored::timestamp(),
        client in stored::client_id(), project in stored::project_id(), template in stored::template_id(),
        (kind, fingerprint) in (stored::command_type(), stored::fingerprint()),
    ) {
        check(&node)?;
        check(&command)?;
        check(&session)?;
        check(&epoch)?;
        check(&seq)?;
        check(&timestamp)?;
        check(&client)?;
        check(&project)?;
        check(&template)?;
        check(&kind)?;
        check(&fingerprint)?;
        check(&Scope::Session)?;
        check(&Scope::Mine)?;
    }
}
