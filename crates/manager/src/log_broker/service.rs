//! The gRPC services Logs (for clients) and LogBroker (for agents): checks who calls and starts streams.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use swarm_ca::Role;
use swarm_dispatcher::{Messages, authorizer, channel};
use swarm_proto::id::new_id;
use swarm_proto::v1::{
    ListenSubscriptionsRequest, LogSelector, PublishLogsMessage, PublishLogsResponse,
    SubscribeLogsMessage, SubscribeLogsRequest, SubscriptionMessage, log_broker_server,
    logs_server,
};
use swarm_store::{Kind, Store};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::feed::Listener;
use super::publish::Publisher;
use super::subscribe::{self, SubscriptionGuard, stopped};
use super::term::Term;

/// Messages that wait in a stream for a slow reader; what else there is waits where it can be counted.
const STREAM_MESSAGES_WAITING_MAX: usize = 1;

/// Both services; clones share them. Calls are refused but while [`LogBroker::run`] runs.
#[derive(Clone)]
pub struct LogBroker {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    term: Mutex<Option<Arc<Term>>>,
    listener_last: AtomicU64,
}

/// Ends a term when [`LogBroker::run`] ends or is dropped.
struct TermGuard<'a>(&'a LogBroker, Arc<Term>);

impl Drop for TermGuard<'_> {
    fn drop(&mut self) {
        *self.0.slot() = None;
        self.1.end();
    }
}

impl LogBroker {
    /// A broker over this store.
    pub fn new(store: Store) -> Self {
        let shared = Shared { store, term: Mutex::default(), listener_last: AtomicU64::new(0) };
        Self { shared: Arc::new(shared) }
    }

    /// Serves while this manager leads: from now until `shutdown` is ready or the future is dropped.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) {
        let watch = self.shared.store.watch(&[Kind::Task, Kind::Node]);
        let term = Arc::new(Term::new());
        *self.slot() = Some(term.clone());
        let _term = TermGuard(self, term.clone());
        tokio::select! {
            () = term.run(watch) => {}
            () = shutdown => {}
        }
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<Term>>> {
        self.shared.term.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn term(&self) -> Result<Arc<Term>, Status> {
        self.slot().clone().ok_or_else(stopped)
    }

    /// The ID of the node that calls, if it has one of the roles.
    fn caller<T>(&self, request: &Request<T>, roles: &[Role]) -> Result<String, Status> {
        let tables = self.shared.store.view();
        Ok(authorizer(&tables)?.require_caller(request, roles)?.node_id)
    }
}

fn check_selector(selector: Option<&LogSelector>) -> Result<(), Status> {
    let selector =
        selector.ok_or_else(|| Status::invalid_argument("log selector must be provided"))?;
    if selector.service_ids.is_empty()
        && selector.task_ids.is_empty()
        && selector.node_ids.is_empty()
    {
        return Err(Status::invalid_argument("log selector must not be empty"));
    }
    Ok(())
}

#[tonic::async_trait]
impl logs_server::Logs for LogBroker {
    type SubscribeLogsStream = ReceiverStream<Result<SubscribeLogsMessage, Status>>;

    async fn subscribe_logs(
        &self,
        request: Request<SubscribeLogsRequest>,
    ) -> Result<Response<Self::SubscribeLogsStream>, Status> {
        self.caller(&request, &[Role::Manager])?;
        let SubscribeLogsRequest { selector, options } = request.into_inner();
        check_selector(selector.as_ref())?;
        let term = self.term()?;
        let id = new_id();
        let message = SubscriptionMessage { id: id.clone(), selector, options, close: false };
        let outbox = term.subscribe(message, &self.shared.store.view());
        let (sender, receiver) = mpsc::channel(STREAM_MESSAGES_WAITING_MAX);
        tokio::spawn(subscribe::serve(SubscriptionGuard { term, id }, outbox, sender));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

#[tonic::async_trait]
impl log_broker_server::LogBroker for LogBroker {
    type ListenSubscriptionsStream = Messages<SubscriptionMessage>;

    async fn listen_subscriptions(
        &self,
        request: Request<ListenSubscriptionsRequest>,
    ) -> Result<Response<Self::ListenSubscriptionsStream>, Status> {
        let node_id = self.caller(&request, &[Role::Worker, Role::Manager])?;
        let id = self.shared.listener_last.fetch_add(1, Ordering::Relaxed);
        let listener = Listener::connect(self.term()?, node_id, id);
        let (sender, messages) = channel();
        tokio::spawn(listener.serve(sender));
        Ok(Response::new(messages))
    }

    async fn publish_logs(
        &self,
        request: Request<Streaming<PublishLogsMessage>>,
    ) -> Result<Response<PublishLogsResponse>, Status> {
        let node_id = self.caller(&request, &[Role::Worker, Role::Manager])?;
        Publisher::new(self.term()?, node_id).receive(request.into_inner()).await?;
        Ok(Response::new(PublishLogsResponse {}))
    }
}
