//! What lives as long as the isolate, and what lives as long as one request.

use std::{
    cell::{Cell, OnceCell, RefCell},
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{self, Poll, Waker},
};

use licet_shared::{
    decision::{LeaseToken, LicenseToken, Verdict},
    id::RequestId,
    time::Timestamp,
};
use wasm_bindgen_futures::future_to_promise;
use worker::{Context, Env, wasm_bindgen::JsValue};

use crate::{
    bindings,
    clock::{self, Clock},
    config::{Config, ConfigError},
    documents::{Ahead, Claims, GivenBack, Memory, Ration},
    endpoints::validate::{again::AnsweredRequests, unseen::Waiting},
    flood::Flood,
    log::{self, Level},
    metrics::Metrics,
    origin::{EdgeKey, Health},
    random,
    timing::Timing,
    verified_tokens::VerifiedTokens,
};

/// The isolate's settings and memory. No borrow of it is ever held across an await: another
/// request may run there.
#[derive(Debug)]
pub(crate) struct Isolate {
    pub(crate) config: Config,
    pub(crate) documents: RefCell<Memory>,
    pub(crate) tokens: RefCell<VerifiedTokens<LicenseToken>>,
    pub(crate) leases: RefCell<VerifiedTokens<LeaseToken>>,
    pub(crate) unseen: RefCell<Waiting>,
    pub(crate) answered: RefCell<AnsweredRequests>,
    pub(crate) flood: Flood,
    pub(crate) given_back: RefCell<GivenBack>,
    /// What strangers may have this isolate look for.
    pub(crate) strangers: Ration,
    pub(crate) origin: Health,
    pub(crate) metrics: Metrics,
    pub(crate) edge_key: EdgeKey,
}

impl Isolate {
    /// An isolate that has seen nothing yet.
    pub(crate) fn new(config: Config) -> Self {
        Self {
            edge_key: EdgeKey::new(config.edge_key.clone()),
            config,
            documents: RefCell::new(Memory::new()),
            tokens: RefCell::new(VerifiedTokens::new()),
            leases: RefCell::new(VerifiedTokens::new()),
            unseen: RefCell::default(),
            answered: RefCell::new(AnsweredRequests::new()),
            flood: Flood::default(),
            given_back: RefCell::new(GivenBack::new()),
            strangers: Ration::new(),
            origin: Health::default(),
            metrics: Metrics::new(),
        }
    }

    /// This isolate; the first call reads the settings. Wrong ones are logged once and stay wrong.
    pub(crate) fn of(env: &Env) -> Result<Rc<Self>, ConfigError> {
        let start = || {
            let setting = |name: &str| {
                js_sys::Reflect::get(env, &JsValue::from_str(name))
                    .ok()?
                    .as_string()
            };
            let config = Config::read(setting).inspect_err(|error| {
                let message = "a setting can't be used, so every request is refused";
                log::write(Level::Error, message, &error.to_string(), None);
            })?;
            Ok(Rc::new(Self::new(config)))
        };
        ISOLATE.with(|isolate| isolate.get_or_init(start).clone())
    }

    /// This isolate, if it has read its settings and can use them.
    pub(crate) fn running() -> Option<Rc<Self>> {
        ISOLATE.with(|isolate| isolate.get()?.as_ref().ok().map(Rc::clone))
    }
}

thread_local! {
    static ISOLATE: OnceCell<Result<Rc<Isolate>, ConfigError>> = const { OnceCell::new() };
}

/// Boxed: one copy of what puts it off will do for all kinds of work.
type Work = Pin<Box<dyn Future<Output = ()>>>;

/// One request's surroundings.
pub(crate) struct Scope {
    pub(crate) isolate: Rc<Isolate>,
    pub(crate) env: Env,
    context: Context,
    clock: Clock,
    /// Where the time went.
    pub(crate) timing: Timing,
    gate: Rc<Gate>,
    /// Documents that this request asks for in the name of all isolates here.
    pub(crate) claims: Claims,
    /// Those that it asks for before its token has been verified.
    pub(crate) ahead: Ahead,
    /// Its name in answers and logs, made here: a client's own is not trusted.
    pub(crate) request_id: RequestId,
}

impl Scope {
    /// The surroundings of a request that comes in now.
    pub(crate) fn new(isolate: Rc<Isolate>, env: Env, context: Context, arrival: Arrival) -> Self {
        let Arrival { clock, request_id } = arrival;
        Self {
            isolate,
            env,
            context,
            clock,
            timing: Timing::begin(),
            gate: Rc::default(),
            claims: Claims::default(),
            ahead: Ahead::default(),
            request_id,
        }
    }

    /// The time by which this request is judged.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Reads the clock again, after waiting for somebody: a slow one must not have this request
    /// judged by an old time.
    pub(crate) fn read_clock(&self) {
        self.clock.read();
    }

    /// Puts `work` off until the runtime has taken the answer: before that it would only hold it up. It is
    /// begun though the client may have gone.
    pub(crate) fn after_response(&self, work: impl Future<Output = ()> + 'static) {
        let (gate, work): (_, Work) = (Rc::clone(&self.gate), Box::pin(work));
        self.meanwhile(async move {
            gate.opened().await;
            bindings::sleep(0).await;
            work.await;
        });
    }

    /// Begins `work`, which the answer does not wait for, but others do.
    pub(crate) fn meanwhile(&self, work: impl Future<Output = ()> + 'static) {
        self.wait_until(Box::pin(work));
    }

    /// Has what was put off begin: the answer is there.
    pub(crate) fn answered(&self) {
        self.ahead.give_up(&mut self.isolate.documents.borrow_mut());
        self.gate.open();
    }

    fn wait_until(&self, work: Work) {
        let promise = future_to_promise(async {
            work.await;
            Ok(JsValue::UNDEFINED)
        });
        // Fails only outside a request, where nobody waits for anything.
        let _ = self.context.as_ref().wait_until(&promise);
    }

    /// Counts an answer, and notes what it came from.
    pub(crate) fn count(&self, verdict: &Verdict<'_>) {
        self.isolate.metrics.answered(verdict);
        if let Some(freshness) = &verdict.freshness {
            self.timing.served_from(freshness.source);
        }
    }

    /// Logs something that this request met.
    pub(crate) fn log(&self, level: Level, message: &str, detail: &str) {
        log::write(level, message, detail, Some(self.request_id));
    }
}

/// What is put off waits here for the answer.
#[derive(Default)]
struct Gate {
    is_open: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

impl Gate {
    fn open(&self) {
        self.is_open.set(true);
        self.waiting.take().into_iter().for_each(Waker::wake);
    }

    async fn opened(&self) {
        let look = |context: &mut task::Context<'_>| {
            if self.is_open.get() {
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push(context.waker().clone());
            Poll::Pending
        };
        poll_fn(look).await;
    }
}

/// A request's time and name, which there are even where the settings are wrong.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) clock: Clock,
    pub(crate) request_id: RequestId,
}

impl Arrival {
    /// Now, under a new name.
    pub(crate) fn now() -> Self {
        let now_ms = clock::now_ms();
        Self {
            clock: Clock::at(now_ms),
            request_id: RequestId::new(now_ms, random::bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use wasm_bindgen_test::wasm_bindgen_test;

    use crate::{
        bindings,
        testing::{Org, World},
    };

    #[wasm_bindgen_test]
    async fn what_is_put_off_begins_once_the_answer_is_there() {
        let world = World::new(&Org::default());
        let scope = world.scope();
        let done = Rc::new(Cell::new(0));
        let count = || {
            let done = Rc::clone(&done);
            async move { done.set(done.get() + 1) }
        };
        scope.after_response(count());
        scope.after_response(count());
        bindings::sleep(1).await;
        assert_eq!(done.get(), 0);
        assert_eq!(world.work_known(), 2, "so it stays, though the client goes");
        scope.answered();
        assert_eq!(done.get(), 0, "the runtime has to take the answer first");
        world.settle().await;
        assert_eq!(done.get(), 2);
        // What puts off more from then on need not wait.
        scope.after_response(count());
        world.settle().await;
        assert_eq!(done.get(), 3);
    }
}
