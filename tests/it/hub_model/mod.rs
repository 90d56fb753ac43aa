//! Model test of the whole hub: random steps of users, operators and failures, with the real log on a real disk and the
//! real packets, beside the pure domain as the reference. After each step every session equals the reference, every
//! connected client's replica does too or has a sync outstanding, no acknowledged command is missing, and none is
//! applied twice (P1–P8).
//!
//! A failing plan is shortened and written as JSON to a file, which the failure names. `HUB_MODEL_PLAN=FILE` runs the
//! plan again. `plans/` holds plans that failed once or that are worth running every time. `HUB_MODEL_CASES` is the
//! number of random plans.

mod client;
mod modeled_hub;
mod plan_state;
mod reference;
pub mod replica;
mod step;

use std::{fs, path::PathBuf, time::Duration};

use proptest::{
    strategy::Strategy,
    test_runner::{Config, TestError, TestRunner},
};
use proptest_state_machine::ReferenceStateMachine;

use self::{modeled_hub::ModeledHub, plan_state::PlanState, step::Step};
use crate::support::ROOT;

/// Longest wait for anything that must happen: 20 s.
const DEADLINE: Duration = Duration::from_secs(20);

/// Interval longer than any test: one hour.
const NEVER: Duration = Duration::from_secs(3_600);

/// Number of random plans, unless `HUB_MODEL_CASES` says otherwise.
const CASES: u32 = 40;

/// Number of steps of a plan.
const STEPS: std::ops::Range<usize> = 1..60;

/// Awaits a future within the deadline.
async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, what).await.expect("before the deadline")
}

/// Runs a plan on a hub of its own. Steps whose preconditions do not hold are left out. Calls `each` before each step.
fn run(plan: &[Step], mut each: impl FnMut()) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let (mut modeled_hub, mut state) = (ModeledHub::start().await, PlanState::default());
        for step in plan {
            each();
            if PlanState::preconditions(&state, step) {
                modeled_hub.run(step).await;
                state = PlanState::apply(state, step);
            }
        }
        modeled_hub.finish().await;
    });
}

fn read(path: &std::path::Path) -> Vec<Step> {
    let text = fs::read_to_string(path).expect("a plan");
    let plan = serde_json::from_str(&text);
    assert!(plan.is_ok(), "{}: {plan:?}", path.display());
    plan.expect("a plan")
}

/// P1–P8: the hub equals the model after random steps in random order. A failing plan is written to a file.
#[test]
#[expect(clippy::panic, reason = "a failed test names the file that repeats it")]
fn hub_equals_the_model_after_random_steps() {
    if let Some(path) = std::env::var_os("HUB_MODEL_PLAN") {
        return run(&read(path.as_ref()), || {});
    }
    let cases = std::env::var("HUB_MODEL_CASES").map_or(CASES, |text| text.parse().expect("a number"));
    let config = Config {
        cases,
        max_shrink_iters: 500,
        // A failing plan is written as JSON instead, which can be read.
        failure_persistence: None,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&PlanState::sequential_strategy(STEPS), |(_, plan, seen)| {
        run(&plan, || {
            if let Some(seen) = &seen {
                seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            }
        });
        Ok(())
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Abort(reason)) => panic!("{reason}"),
        Err(TestError::Fail(reason, (_, plan, _))) => {
            let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("hub_model_failed.json");
            fs::write(&path, serde_json::to_string_pretty(&plan).expect("JSON")).expect("a file");
            panic!(
                "{reason}\nrun it again with HUB_MODEL_PLAN={}\n{plan:#?}",
                path.display()
            );
        }
    }
}

/// P1–P8: the hub equals the model after each plan of `plans/`.
#[test]
fn kept_plans_pass() {
    let folder = PathBuf::from(ROOT).join("tests/it/hub_model/plans");
    let files = fs::read_dir(folder).expect("the folder of plans");
    let plans: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    assert!(!plans.is_empty());
    for path in plans {
        run(&read(&path), || {});
    }
}

/// Random plans contain every kind of step, and survive writing and reading.
#[test]
fn plans_contain_every_step_and_survive_a_file() {
    let mut runner = TestRunner::deterministic();
    let mut kinds = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let tree = PlanState::sequential_strategy(STEPS)
            .new_tree(&mut runner)
            .expect("a plan");
        let (_, plan, _) = proptest::strategy::ValueTree::current(&tree);
        let text = serde_json::to_string(&plan).expect("JSON");
        assert_eq!(serde_json::from_str::<Vec<Step>>(&text).expect("a plan"), plan);
        for step in &plan {
            let name = serde_json::to_value(step).expect("JSON");
            let name = name
                .as_str()
                .map(str::to_owned)
                .or_else(|| Some(name.as_object()?.keys().next()?.clone()));
            kinds.insert(name.expect("a name"));
        }
    }
    assert_eq!(kinds.len(), 16, "{kinds:?}");
}
