//! What the operator does with an answer, without a cluster: nobody answers here.

use std::time::Instant as Clock;

use super::*;

fn operator() -> Operator {
    let nobody = tower::service_fn(|_: http::Request<kube::client::Body>| {
        std::future::pending::<Result<http::Response<kube::client::Body>, std::convert::Infallible>>()
    });
    let client = Client::new(nobody, "default");
    Operator::new(client, "domicile-system", Arc::new(Health::new(Clock::now())), Arc::new(Metrics::default()))
}

#[tokio::test(start_paused = true)]
async fn what_failed_and_takes_long_waits_for_its_turn_as_anything_else() {
    let (mut operator, now, took) = (operator(), Instant::now(), Duration::from_secs(4));
    let shop = || Work::Namespace("shop".to_owned());
    for name in ["other", "shop"] {
        operator.pace.looked(name, now, took);
    }
    let turn = operator.next_look_at("other", now) + 2 * took;
    operator.finish(shop(), Operation::Namespace, 0, Err(apply::Error::Conflict));
    assert_eq!(operator.queue.wake(), Some(turn));
    operator.finish(Work::Node("worker-1".to_owned()), Operation::Node, 0, Err(apply::Error::Conflict));
    assert!(operator.queue.wake().is_some_and(|wake| wake < turn), "a node has no turn");
}
