//! Coming from nginx: where each piece of its process model is here, by the names of its source.
//!
//! forkmesh has nginx's model: a master that forks workers into a fixed table, a socket pair for each,
//! descriptors passed until everybody can reach everybody. Each table below goes from what nginx, up
//! to 1.31 or so, calls a thing, to what it is here, and says what is different. "Not yet" means that
//! nothing of it is here now.
//!
//! # Functions
//!
//! ## Making processes
//!
//! | nginx | here | what is different |
//! |---|---|---|
//! | `ngx_start_worker_processes` | [`machine::Master::start`](crate::machine::Master::start), done by [`run::Master::start`](crate::run::Master::start) | every mesh pair is made before the first fork, so no descriptor has to travel at a start |
//! | `ngx_spawn_process` | [`Action::Spawn`](crate::machine::Action::Spawn), done with [`channel::fork`](crate::channel::fork()) | two pairs a worker; a failure is an event, where nginx's callers ignore the result |
//! | the search for a free entry | [`Table::claim`](crate::table::Table::claim) | the lowest vacant slot; `None` when all are taken |
//! | `socketpair`, non-blocking, close-on-exec | [`Pair::new`](crate::channel::Pair::new), [`Pair::mesh`](crate::channel::Pair::mesh) | one call says all three; stream sockets, as in nginx |
//! | `FIOASYNC`, `F_SETOWN` | none | the master has its ends in epoll, and needs no SIGIO |
//! | `fork` | [`Pair::fork`](crate::channel::Pair::fork) | wants [`Alone`](crate::channel::Alone), the proof that no other thread runs; the child cannot return into its parent's code |
//! | `proc` and `data` | [`Service::work`](crate::run::Service::work) | its result is the exit code; the number that nginx passes in `data` is [`Worker::number`](crate::run::Worker::number) |
//! | `ngx_exec_new_binary`, `ngx_execute` | [`Service::upgrade`](crate::run::Service::upgrade) fills an [`Offer`](crate::run::Offer); [`Action::Launch`](crate::machine::Action::Launch) | descriptors travel by a socket under names, not by number in an environment string; the new master says READY, or the old one goes on |
//! | `ngx_start_cache_manager_processes` | [`Config::helper`](crate::machine::Config::helper), each with its policy: the manager stays, the loader does its work once | started when its epoch serves; a reload or an upgrade never waits for one, or fails for it |
//! | `ngx_cache_manager_process_cycle` and its two handlers | [`Service::help`](crate::run::Service::help), and [`periodic`](crate::run::periodic) with 0 or 60 000 ms | the longest interval is nginx's hour |
//! | `ngx_single_process_cycle` | [`Single`](crate::run::Single) | HUP and USR2 mean nothing there |
//!
//! ## The channel
//!
//! | nginx | here | what is different |
//! |---|---|---|
//! | `ngx_pass_open_channel` | [`Action::Announce`](crate::machine::Action::Announce), [`Master::announcements`](crate::machine::Master::announcements) | derived from the table for each recipient, sent in batches; who inherited a descriptor is told to keep it |
//! | `ngx_write_channel` (`sendmsg`) | `send`, `send_with`, `send_all` of [`Parent`](crate::channel::Parent), [`Child`](crate::channel::Child) and [`Peer`](crate::channel::Peer) | says what each end may say; a short write is an error; what was not sent comes back in [`SendError`](crate::channel::SendError) |
//! | `ngx_read_channel` (`recvmsg`) | [`Child::receive`](crate::channel::Child::receive), [`Parent::receive`](crate::channel::Parent::receive) into an [`Inbox`](crate::channel::Inbox) | up to 128 frames a call; descriptors are close-on-exec; one that is missing costs its entry, and not the channel |
//! | `CMSG_SPACE`, `CMSG_LEN`, `msg_accrights` | inside | 253 descriptors a message, where nginx sends one; no variant for systems without control messages |
//! | `NGX_OK`, `NGX_AGAIN`, `NGX_ERROR` | `Ok`, and [`SendFault`](crate::channel::SendFault) or [`ReceiveError`](crate::channel::ReceiveError) | the end of the stream is not an error but [`Gone`](crate::channel::ReceiveError::Gone) |
//! | `ngx_channel_handler` | [`Worker::receive`](crate::run::Worker::receive), deciding by [`machine::Worker::heard`](crate::machine::Worker::heard) | a slot outside of the table is [`Malformed`](crate::wire::Malformed), an unknown command too; both are counted in [`Faults`](crate::channel::Faults) |
//! | `ngx_add_channel_event` | [`Poller::new`](crate::run::Poller::new), or [`Worker::source`](crate::run::Worker::source) in any loop | four descriptors; none takes a connection's place |
//! | `ngx_close_channel` | drop the [`Pair`](crate::channel::Pair), [`Parent`](crate::channel::Parent), [`Child`](crate::channel::Child) or [`Peer`](crate::channel::Peer) | nothing is left that could be closed twice |
//!
//! ## The master's loop
//!
//! | nginx | here | what is different |
//! |---|---|---|
//! | `ngx_master_process_cycle` | [`run::Master::run`](crate::run::Master::run), or [`turn`](crate::run::Master::turn) in a loop of one's own | decisions are [`machine::Master`](crate::machine::Master)'s, which makes no system call |
//! | `sigsuspend`, `setitimer` | `epoll_wait` until [`machine::Master::deadline`](crate::machine::Master::deadline) | each slot has its own deadline, and other wake-ups do not move it |
//! | the order of one iteration | [the order of actions](crate::machine#the-order-of-actions) | nothing that is due waits for another signal |
//! | `ngx_init_signals`, `ngx_signal_handler` | [`run::Master::new`](crate::run::Master::new), [`Notice`](crate::run::Notice) | signals are read from a signalfd; no code runs in a handler |
//! | `ngx_process_get_status` | [`Event::Exited`](crate::machine::Event::Exited), [`Report::Exited`](crate::machine::Report::Exited) | one pidfd a worker, so children that are not workers are left to whoever made them |
//! | `ngx_reap_children` | [`Action::Reclaim`](crate::machine::Action::Reclaim), then [`Action::Spawn`](crate::machine::Action::Spawn) | closes, announces, and fills the slot under a new generation |
//! | respawn at once, without limit | [`Backoff`](crate::machine::Backoff), [`Report::Delayed`](crate::machine::Report::Delayed) | at once too, if the worker was ready and did not die in a burst; else 10 ms doubling to 1 s |
//! | a fork that failed is tried again at the next SIGCHLD | [`Event::SpawnFailed`](crate::machine::Event::SpawnFailed) | tried again by deadline |
//! | exit code 2 | [`Exit::FATAL`](crate::run::Exit::FATAL), [`Report::Parked`](crate::machine::Report::Parked) | means the same, and is reported; ten deaths in a row before READY park a slot too |
//! | `ngx_signal_worker_processes` | [`Action::Order`](crate::machine::Action::Order), [`Action::Signal`](crate::machine::Action::Signal) | by pidfd, which a reused pid cannot mislead |
//! | TERM, then KILL after 3.15 s | [`Config::terminate_ms`](crate::machine::Config::terminate_ms) | 3 s unless told otherwise, for each worker by itself |
//! | QUIT waits for ever | [`Config::quit_ms`](crate::machine::Config::quit_ms) | 30 s unless told otherwise, then TERMINATE, then SIGKILL |
//! | `ngx_unlock_mutexes` | [`sync::recover`](crate::sync::recover) with [`Zones::mutex`](crate::shm::Zones::mutex), and [`Zones::recover`](crate::shm::Zones::recover) | the next owner is told; blocks are taken back, too, and of zones that a reload has dropped; the service calls it, `run` not yet |
//! | `ngx_init_cycle` at HUP, and the 100 ms before the old workers are told to quit | [`Service::reload`](crate::run::Service::reload); [`Report::Reloaded`](crate::machine::Report::Reloaded), [`ReloadFailed`](crate::machine::Report::ReloadFailed) | [`Worker::ready`](crate::run::Worker::ready) of all new workers takes the place of the 100 ms; whatever fails before, the old ones serve on |
//! | WINCH | [`Workers::rest`](crate::run::Workers::rest), [`Duty`](crate::machine::Duty) | whether or not it is a daemon, if a process sent it |
//! | no counterpart | TTIN, TTOU: [`Workers::more`](crate::run::Workers::more), [`fewer`](crate::run::Workers::fewer) | |
//! | `ngx_master_process_exit` | [`Action::Exit`](crate::machine::Action::Exit) | `run` returns; a master without workers ends as well when it is told to |
//!
//! ## The worker's life
//!
//! | nginx | here | what is different |
//! |---|---|---|
//! | `ngx_worker_process_init`: priority, limits, groups and user, affinity, dumpable, directory | [`Setup`](crate::run::Setup) | what needs privileges comes before the drop, by type; the drop is verified; [`Worker::fails`](crate::run::Worker::fails) is exit code 2 with a reason |
//! | `ngx_worker_process_init`: environment, random seed | [`Setup::environment`](crate::run::Setup::environment), [`Worker::seed`](crate::run::Worker::seed) | in place, nothing allocated; the seed is the kernel's, and no clock's |
//! | `ngx_worker_process_init`: the signal mask | before [`Service::work`](crate::run::Service::work) | blocked, and read from [`Sources::SIGNALS`](crate::run::Sources::SIGNALS) |
//! | `ngx_worker_process_init`: ends closed, channel watched | before [`Service::work`](crate::run::Service::work) | the service starts with its own ends and no others; nginx runs the modules' hooks first |
//! | `init_process` hooks | the first lines of [`Service::work`](crate::run::Service::work) | [`Worker::failed`](crate::run::Worker::failed) says which step failed, and why |
//! | no counterpart | [`Worker::ready`](crate::run::Worker::ready) | to die before this counts as "could not start" |
//! | `ngx_worker_process_cycle` | [`Service::work`](crate::run::Service::work) | requests, upstreams and files are the service's; the example `httpd` is a small one |
//! | `ngx_process_events_and_timers` | [`Loop::next`](crate::run::Loop::next) | one thing at a time; each kind has its share of a turn |
//! | `ngx_event_timer_rbtree`, `ngx_posted_events` | [`Timers`](crate::run::Timers), [`Posted`](crate::run::Posted) | a heap and a queue of fixed room; what is posted twice comes twice |
//! | `ngx_event_accept` | [`Acceptor::accept`](crate::run::Acceptor::accept) | EMFILE is told, and over as soon as a connection ends |
//! | `ngx_trylock_accept_mutex`, `ngx_accept_disabled` | [`Mutexed`](crate::run::Mutexed) | a holder that is killed keeps nothing |
//! | one socket a worker by `reuseport`, `ngx_clone_listening` | [`Listen::per_worker`](crate::run::Listen::per_worker), [`Listeners::settle`](crate::run::Listeners::settle), [`Own`](crate::run::Own) | of workers that go, clients are steered away and their sockets drained; nginx closes them, and the kernel resets who waits |
//! | `EPOLLEXCLUSIVE`, `ngx_reorder_accept_events` | [`Exclusive`](crate::run::Exclusive) | to the end of the line after each batch, unless told otherwise |
//! | `worker_shutdown_timeout` | [`Loop::shutdown_ms`](crate::run::Loop::shutdown_ms); [`Config::quit_ms`](crate::machine::Config::quit_ms) is the master's deadline | |
//! | a drain is over when no timer is left | [`Load`](crate::run::Load) | connections and works decide |
//! | `exit_process` hooks, `ngx_worker_process_exit` | return from [`Service::work`](crate::run::Service::work) | ends by `exit_group`: no handler or buffer of the master's runs; a panic ends with 101 |
//! | a worker does not look whether its master lives | [`Sources::MASTER`](crate::run::Sources::MASTER), [`Worker::is_orphan`](crate::run::Worker::is_orphan) | it is told [`Quit`](crate::run::Event::Quit), or serves on and is told [`Orphaned`](crate::run::Event::Orphaned): [`Orphans`](crate::machine::Orphans) |
//!
//! ## What surrounds them
//!
//! | nginx | here |
//! |---|---|
//! | `main`, and its choice between master and single process | the user's; see the example `ping` |
//! | `ngx_setproctitle` | [`Title`](crate::run::Title) |
//! | `ngx_daemon` | [`Daemon`](crate::run::Daemon): the foreground leaves when the workers are ready, and says so if they cannot be |
//! | `ngx_create_pidfile`, `ngx_delete_pidfile` | [`PidFile`](crate::run::PidFile): published whole, and locked; [`Master::keep`](crate::run::Master::keep) sets it aside and takes it back in an upgrade |
//! | `ngx_signal_process` (`-s stop`, `quit`, `reopen`, `reload`) | [`Instance`](crate::run::Instance): checks that the process has the lock, signals by pidfd, waits for the outcome; [`Status`](crate::run::Status) |
//! | `ngx_open_listening_sockets`, `ngx_close_listening_sockets` | [`Listeners`](crate::run::Listeners): `open`, and `prepare` and `commit` for a reload; an address that is in use holds nobody up ([`Tries`](crate::run::Tries), [`NotLoaded::Again`](crate::run::NotLoaded::Again)) |
//! | `ngx_add_inherited_sockets`, `ngx_set_inherited_sockets`, the variable `NGINX` | [`Handover`](crate::run::Handover), and [`Listeners::open`](crate::run::Listeners::open) with it |
//! | `ngx_reopen_files` | [`Notice::Reopen`](crate::run::Notice::Reopen) in the master, then [`Event::Reopen`](crate::run::Event::Reopen) in each worker |
//! | `ngx_debug_point` | not yet |
//!
//! ## Shared memory and locks
//!
//! | nginx | here |
//! |---|---|
//! | `ngx_shm_alloc`, `ngx_shm_free`; their callers, the event module and `ngx_init_cycle` | [`shm::Mapping`](crate::shm::Mapping): a guard on both sides, and the descriptor stays, where there is one |
//! | `ngx_shared_memory_add`, `ngx_init_zone_pool`, zones in `ngx_init_cycle` | [`Zones::declare`](crate::shm::Zones::declare), [`Zone`](crate::shm::Zone) |
//! | `ngx_shmtx_create`, `lock`, `trylock`, `unlock`, `force_unlock`, `destroy`; its `sem_t` | [`sync::Mutex`](crate::sync::Mutex): an owner that died is told to the next one, who repairs or poisons; a futex in place of `sem_t`. It lies in a [`Zone`](crate::shm::Zone) |
//! | `ngx_rwlock_*`, `ngx_spinlock` | [`sync::RwLock`](crate::sync::RwLock): readers and a writer that die are taken off it; no spinlock |
//! | `ngx_slab_init`, `alloc`, `free`, and those that end in `_locked` | [`slab::Slab`](crate::slab::Slab), [`slab::Heap`](crate::slab::Heap): no lock, indices in place of pointers, and what a dead process held is recovered; [`Joined::alloc`](crate::shm::Joined::alloc) is the typed one |
//! | the totals of `stub_status`, `ngx_stat_*` | [`sync::counters::Stub`](crate::sync::counters::Stub): a line a slot; gauges of the dead go to zero |
//!
//! # Types and fields
//!
//! ## The table
//!
//! | nginx | here | what is different |
//! |---|---|---|
//! | `ngx_process_t` | [`Slot`](crate::table::Slot) | plain data: ends and pidfds lie beside the table |
//! | `.pid` | [`State::pid`](crate::table::State::pid) | an `Option`; never 0 or -1 |
//! | `.status` | [`ExitStatus`](crate::machine::ExitStatus), [`Master::last_exit`](crate::machine::Master::last_exit) | code or signal, taken apart; how long it lived, whether it was ready, what it failed at |
//! | `.channel[0]` | [`Parent<End0>`](crate::channel::Parent), for siblings [`Peer<End0>`](crate::channel::Peer) | of two pairs: [`Control`](crate::channel::Control) and [`Mesh`](crate::channel::Mesh) |
//! | `.channel[1]` | [`Child<End1>`](crate::channel::Child) | in the child alone |
//! | `.proc`, `ngx_spawn_proc_pt`, `.data` | [`Service`](crate::run::Service), [`Slot::number`](crate::table::Slot::number) | one service for all workers |
//! | `.name` | not yet | |
//! | `.respawn` | [`Policy`](crate::table::Policy), set by [`Config::restart`](crate::machine::Config::restart) | always, on failure, on success, never |
//! | `.just_spawn` | [`Slot::epoch`](crate::table::Slot::epoch) | a number to compare |
//! | `.detached` | [`Successor`](crate::run::Successor) | the new binary of an upgrade is the one such process; it has no slot |
//! | `.exiting` | [`State::Retiring`](crate::table::State::Retiring) | has a deadline |
//! | `.exited` | [`State::Reclaiming`](crate::table::State::Reclaiming) | then [`Cooling`](crate::table::State::Cooling), [`Parked`](crate::table::State::Parked) or [`Vacant`](crate::table::State::Vacant) |
//! | `ngx_processes` | [`Table`](crate::table::Table) in the master, [`Roster`](crate::machine::Roster) in a worker | the master is not in it, as in nginx |
//! | `NGX_MAX_PROCESSES`, 1024 | [`SLOTS`](crate::table::SLOTS), and [`CHILDREN`](crate::table::CHILDREN) = 1022 | the last two rows are kept for masters |
//! | `ngx_last_process` | [`Table::occupied`](crate::table::Table::occupied) | a set, in which a gap costs nothing |
//! | `ngx_process_slot` | [`Worker::id`](crate::run::Worker::id) | a [`SlotId`](crate::table::SlotId): place and [`Generation`](crate::table::Generation), so that an old name reaches nobody |
//! | `ngx_channel`: which descriptor a child is to watch | [`Sources::CONTROL`](crate::run::Sources::CONTROL), [`Sources::MESH`](crate::run::Sources::MESH) | |
//! | `ngx_pid` | not kept; the siblings' are in [`Worker::siblings`](crate::run::Worker::siblings) | |
//! | `ngx_parent` | [`Sources::MASTER`](crate::run::Sources::MASTER) | a pidfd, which cannot come to mean another process |
//! | `ngx_process` (single, master, signaller, worker, helper) | [`run::Master`](crate::run::Master) or [`run::Worker`](crate::run::Worker) | which one a process has is what it is; a signaller is an [`Instance`](crate::run::Instance); a helper is a worker of another [`Role`](crate::table::Role); single: [`Single`](crate::run::Single) |
//! | `ngx_worker` | [`Worker::number`](crate::run::Worker::number) | a successor has its predecessor's, as in nginx |
//! | `ngx_cycle_t` | [`Config`](crate::machine::Config), and whatever the [`Service`](crate::run::Service) holds | no list of modules, no pool |
//!
//! ## The frame
//!
//! | nginx | here | what is different |
//! |---|---|---|
//! | `ngx_channel_t` | [`Frame`](crate::wire::Frame), and what it means: [`Command`](crate::wire::Command) | 32 bytes; the layout is nginx's on a 64-bit Linux |
//! | `.command` | the lower half of the word | the upper half is a tag: a table's version, a count, or [`Message::tag`](crate::wire::Message::tag) |
//! | `.pid` | [`Subject::pid`](crate::wire::Subject::pid) | whom the frame is about, in nginx too: not the sender |
//! | `.slot` | [`Subject::index`](crate::wire::Subject::index) | 0 to 1023, checked |
//! | `.fd` | [`Attached`](crate::wire::Attached) | only whether one is with it: ≥ 0 yes, -1 no, -2 it follows |
//! | the hole behind `.pid` | [`Subject::generation`](crate::wire::Subject::generation) | 0, unknown, in a frame from nginx |
//! | the hole behind `.fd` | [`Frame::sender`](crate::wire::Frame::sender) | the same |
//!
//! ## Shared memory
//!
//! | nginx | here |
//! |---|---|
//! | `ngx_shm_t`: `addr`, `size`, `name`, `log`, `exists` | [`shm::Mapping`](crate::shm::Mapping); `exists` is [`Origin`](crate::shm::Origin) |
//! | `ngx_shm_zone_t`: `data`, `shm`, `init`, `tag`, `sync`, `noreuse` | [`ZoneConfig`](crate::shm::ZoneConfig), and the hook of [`Zones::declare`](crate::shm::Zones::declare), which gets the [`Origin`](crate::shm::Origin); [`Tag`](crate::shm::Tag); `noreuse` is [`ZoneConfig::keep`](crate::shm::ZoneConfig::keep) |
//! | `ngx_shmtx_t`, `ngx_shmtx_sh_t` | [`sync::Mutex`](crate::sync::Mutex), in place in shared memory; all-zero bytes are a free one |
//! | `ngx_slab_pool_t` | [`Zone`](crate::shm::Zone); its `data` is [`Zone::fixed`](crate::shm::Zone::fixed) |
//! | memory from `MAP_ANON`, first choice | [`Backing::Anonymous`](crate::shm::Backing::Anonymous); the first choice here is a sealed memfd, which outlives an exec |
//! | memory from `/dev/zero`, second choice | [`Backing::DevZero`](crate::shm::Backing::DevZero) |
//! | memory from `shmget`, third choice | [`Backing::SystemV`](crate::shm::Backing::SystemV) |
//! | the choice between the three, made by test programs before nginx is compiled | the user's, for each mapping |
//!
//! # Spawn modes
//!
//! The five have names here, [`SpawnMode`](crate::table::SpawnMode), and each has a
//! [`Policy`](crate::table::Policy). A master starts all its workers with one policy.
//!
//! | nginx | here | what is different |
//! |---|---|---|
//! | `NGX_PROCESS_NORESPAWN`, -1 | [`NoRespawn`](crate::table::SpawnMode::NoRespawn): [`Policy::empty`](crate::table::Policy::empty) | |
//! | `NGX_PROCESS_JUST_SPAWN`, -2 | [`JustSpawn`](crate::table::SpawnMode::JustSpawn): the same, of a new epoch | |
//! | `NGX_PROCESS_RESPAWN`, -3 | [`Respawn`](crate::table::SpawnMode::Respawn): [`Policy::RESTART`](crate::table::Policy::RESTART), the default | |
//! | `NGX_PROCESS_JUST_RESPAWN`, -4 | [`JustRespawn`](crate::table::SpawnMode::JustRespawn): the same, of a new epoch | |
//! | `NGX_PROCESS_DETACHED`, -5 | [`Detached`](crate::table::SpawnMode::Detached): [`Policy::DETACHED`](crate::table::Policy::DETACHED) | the new binary of an upgrade, which has no slot: [`Successor`](crate::run::Successor) |
//! | a slot, ≥ 0 | [`Change::Elapsed`](crate::table::Change::Elapsed), then [`Action::Spawn`](crate::machine::Action::Spawn) | the slot keeps number and policy; its life is a new one |
//!
//! # Commands
//!
//! | nginx | here | what is different |
//! |---|---|---|
//! | 0, no command: `kill` is to be used | [`Action::Signal`](crate::machine::Action::Signal) | 0 on a channel is [`Malformed`](crate::wire::Malformed) |
//! | 1 `NGX_CMD_OPEN_CHANNEL` | [`Command::Open`](crate::wire::Command::Open) | has the version of the table; a place that is taken again loses its old end; about the receiver itself, it brings a new mesh end |
//! | 2 `NGX_CMD_CLOSE_CHANNEL` | [`Command::Close`](crate::wire::Command::Close) | nobody has this place: it names the generation that the next life will have, and no pid, where nginx names the dead one's |
//! | 3 `NGX_CMD_QUIT` | [`Command::Quit`](crate::wire::Command::Quit) | |
//! | 4 `NGX_CMD_TERMINATE` | [`Command::Terminate`](crate::wire::Command::Terminate) | |
//! | 5 `NGX_CMD_REOPEN` | [`Command::Reopen`](crate::wire::Command::Reopen) | understood by workers; `run`'s master does not send it yet |
//! | none | 16 [`Ready`](crate::wire::Command::Ready) | a worker serves |
//! | none | 17 [`Resync`](crate::wire::Command::Resync) | a worker missed something, or its mesh pair is broken |
//! | none | 18 [`Failed`](crate::wire::Command::Failed) | a worker cannot serve: step and error |
//! | none | 19 [`Descriptors`](crate::wire::Command::Descriptors) | up to 253 of them, for the OPENs before it |
//! | none | 32 [`User`](crate::wire::Command::User) | a [`Message`](crate::wire::Message) of the user's: a tag, 16 bytes, perhaps a descriptor |
//!
//! # Signals
//!
//! | nginx | master here | worker here |
//! |---|---|---|
//! | HUP: reload | [`Event::Reload`](crate::machine::Event::Reload) | nothing: it is the master's |
//! | USR1: reopen | [`Notice::Reopen`](crate::run::Notice::Reopen), then each worker | [`Event::Reopen`](crate::run::Event::Reopen), if a process sent it |
//! | USR2: new binary | [`Event::Upgrade`](crate::machine::Event::Upgrade), in the foreground too | nothing |
//! | WINCH: no more workers | [`Event::Rest`](crate::machine::Event::Rest), if a process sent it | nothing; in nginx a daemon's worker quits |
//! | QUIT | all workers are told to [`Quit`](crate::run::Event::Quit) | [`Event::Quit`](crate::run::Event::Quit), if a process sent it |
//! | TERM | all workers end: SIGTERM by pidfd | [`Event::Terminate`](crate::run::Event::Terminate), if a process sent it |
//! | INT: as TERM | as TERM | nothing: a terminal sends it to the whole group, and the master acts on it |
//! | CHLD | not read: a pidfd says who. As PID 1, or after [`adopt_orphans`](crate::run::Master::adopt_orphans): whoever else has ended is reaped | its default; a worker may have children |
//! | ALRM: the delay is over | not used, and not touched | not touched |
//! | IO: a channel moved | not used, and not touched | not touched |
//! | SYS: ignored | not touched | not touched |
//! | PIPE: ignored | ignored; sends ask for no SIGPIPE too | the same |
//! | no TTIN, TTOU | one worker more, one less, if a process sent it | nothing |
//!
//! # Global flags
//!
//! | nginx | here |
//! |---|---|
//! | `ngx_reap` | a pidfd is readable: [`Event::Exited`](crate::machine::Event::Exited) |
//! | `ngx_terminate` | master [`Phase::Stopping`](crate::machine::Phase::Stopping), worker [`Life::Ending`](crate::machine::Life::Ending) |
//! | `ngx_quit`, `ngx_exiting` | master [`Phase::Draining`](crate::machine::Phase::Draining), worker [`Life::Draining`](crate::machine::Life::Draining) |
//! | `ngx_reopen` | [`Notice::Reopen`](crate::run::Notice::Reopen), [`Event::Reopen`](crate::run::Event::Reopen) |
//! | `ngx_sigalrm` | [`Event::Elapsed`](crate::machine::Event::Elapsed) |
//! | `ngx_sigio` | none: it is never read in nginx |
//! | `ngx_reconfigure`, `ngx_noaccept`, `ngx_change_binary` | kept until what is under way has an outcome, all of them: [`machine`](crate::machine) |
//! | `ngx_new_binary` | [`Upgrade`](crate::machine::Upgrade): never -1 |
//! | `ngx_noaccepting`, `ngx_restart` | [`Duty`](crate::machine::Duty): one word, so that they cannot disagree |
//! | `ngx_inherited` | [`Handover`](crate::run::Handover) |
//! | `ngx_daemonized`, `ngx_debug_quit` | not yet |
//! | `live` | [`Table::is_empty`](crate::table::Table::is_empty) |
//! | `delay` | [`Slot::deadline`](crate::table::Slot::deadline), one for each slot |
//! | `sigio`, how many wake-ups to let pass | none: a wake-up does not repeat an order |
//!
//! # When a channel is full
//!
//! nginx passes over `NGX_AGAIN` where it announces: after 278 frames that nobody reads (with the usual
//! buffer), OPEN and CLOSE are lost without a word, and a worker goes on with a dead pid in its table.
//! Here these two are state: what a recipient has yet to hear follows from the table, however long it
//! did not read.
//!
//! | what | what happens |
//! |---|---|
//! | OPEN, CLOSE: the socket is full | [`Event::Blocked`](crate::machine::Event::Blocked), then [`Event::Writable`](crate::machine::Event::Writable) by epoll, then what is true by then |
//! | OPEN, CLOSE: `ETOOMANYREFS`, `ENOBUFS`, `ENOMEM` | [`Event::Refused`](crate::machine::Event::Refused): again after 10 ms, doubling to 1 s |
//! | a descriptor did not come, or nobody spoke of it | [`Resync`](crate::wire::Resync): the worker asks for what it missed; what is too much is closed |
//! | QUIT, TERMINATE | the signal with the same meaning, by pidfd; nginx has this too, but a write to a dead worker succeeds there |
//! | READY, RESYNC | kept by the worker until the channel takes them |
//! | a message of the user's | [`SendFault::Full`](crate::channel::SendFault::Full), and the message back |
//! | somebody who writes without end | the master listens to each worker in turn, and a worker to its master first |
//!
//! # Who closes what
//!
//! | end | nginx | here |
//! |---|---|---|
//! | the child's, in the master | stays open until the child is reaped, so writing to a dead worker succeeds | closed by the fork: [`Parent<End0>`](crate::channel::Parent) is all that is left |
//! | its own `channel[0]`, in a child | closed by the worker's set-up | closed by the fork: [`Child<End1>`](crate::channel::Child) is all that is left |
//! | others' `channel[1]`, in a child | those of earlier siblings, closed by the worker's set-up | none of earlier ones; of pairs made in advance, closed before [`Service::work`](crate::run::Service::work) |
//! | others' `channel[0]`, in a child | kept | mesh: kept, as [`Peer`](crate::channel::Peer); control: closed before [`Service::work`](crate::run::Service::work) |
//! | the master's epoll, signalfd and pidfds, in a child | it has none | closed before [`Service::work`](crate::run::Service::work), but the one that shows the master's death |
//! | both ends of a dead child, in the master | closed when it is reaped | [`Action::Reclaim`](crate::machine::Action::Reclaim) |
//! | a dead sibling's, in a child | closed at CLOSE | closed at CLOSE, or at the OPEN of the next life |
//! | both ends, when fork fails | closed; their numbers stay in the table | returned in [`Unforked`](crate::channel::Unforked), and closed with it |
//! | all ends, at an exec | closed, but those that were received | closed |
//! | what a closed variable holds | in a child the old number, only sometimes -1 | there is none |
//!
//! This is what [`run`](crate::run) does. With [`channel`](crate::channel) alone, a fork splits the pairs
//! that it is given; a `Parent` of an earlier fork is inherited, and the user's to drop in the child.
//!
//! # The picture
//!
//! A row is a socket pair, a column a process, a cell the numbers of its two ends there; `-` where the
//! process does not hold that end. Three workers (of nginx's, the first three of four), with the numbers
//! that they once had; `*` for one that was received, all others were inherited.
//!
//! ```text
//!   nginx                master    worker 0   worker 1   worker 2
//!   slot 0               3, 6      -, 6       3, -       3, -
//!   slot 1               7, 8      3*, -      -, 8       7, -
//!   slot 2               9, 11     9*, -      6*, -      -, 11
//!
//!   here                 master    worker 0   worker 1   worker 2
//!   control of slot 0    9, -      -, 11      -, -       -, -
//!   control of slot 1    11, -     -, -       -, 12      -, -         orders come from the master alone
//!   control of slot 2    12, -     -, -       -, -       -, 13
//!   mesh of slot 0       6, -      -, 12      6, -       6, -
//!   mesh of slot 1       7, -      7, -       -, 13      7, -         messages come from all siblings
//!   mesh of slot 2       8, -      8, -       8, -       -, 14
//! ```
//!
//! When a worker is replaced, its siblings receive its new mesh `End0`. The example `httpd` draws this
//! picture of its own processes, as it is then, at `/mesh`.
//!
//! | from, to | nginx | here |
//! |---|---|---|
//! | master to worker j | its `processes[j].channel[0]` | [`Workers::send`](crate::run::Workers::send) |
//! | worker to master | its own slot's `channel[1]`; never used | [`Worker::tell_master`](crate::run::Worker::tell_master), [`Notice::Message`](crate::run::Notice::Message) |
//! | worker i to worker j | its `processes[j].channel[0]`; never used | [`Worker::send`](crate::run::Worker::send) |
//! | what a worker reads | its own slot's `channel[1]`, whoever wrote | [`Worker::receive`](crate::run::Worker::receive): control first, mesh behind it |
//!
//! # Questions
//!
//! | question | answer |
//! |---|---|
//! | Can children talk to each other? | Yes. In nginx the descriptors are there, and nobody uses them; here it is [`Worker::send`](crate::run::Worker::send), with or without a descriptor. |
//! | Does an earlier child know a later one? | Not by its fork: the later one inherited its end, and not the other way round. The master, and not the new child, tells the earlier ones; here too. |
//! | Why is the descriptor in the body as well? | It need not be: the number there is the sender's, and the kernel gives the receiver one of its own for the same open file. Here the field says whether one comes: [`Attached`](crate::wire::Attached). |
//! | Does `sendmsg` follow pointers in a frame? | No. The bytes of its vectors are copied, and the control data is translated; nothing else goes. |
//! | Who sent it? | nginx cannot tell: `pid` and `slot` are the subject's. Here [`Sender`](crate::run::Sender) has the pid that the kernel names, the slot that is claimed, and whether they fit. The end it came by says whether it is the master. |
//! | May a worker give another orders? | In nginx it could, with the end that it holds. Here an order that comes over the mesh is refused and counted: [`Worker::refused`](crate::run::Worker::refused). |
//! | A pair has four descriptors after a fork: who reads what? | What is written at one end is read at the other, by whichever process holds a copy of that; never at the end where it was written. |
//! | How does a master start and stop a worker? | It starts it by fork, and stops it by a command, or by a signal where the command does not get through. |
//! | Is fork the only way to a new process? | Here too. It is libc's own with the feature `std`, and `clone3` without. |
//! | Does anybody write to the master? | In nginx nobody. Here: READY, RESYNC, FAILED, and whatever the user wants to say. |
//! | How does a message carry more than 16 bytes? | [`send_all`](crate::channel::Peer::send_all) for up to 128 messages; a descriptor of a pipe, a file or memory for what is larger. |
//! | Why has `sendmsg` no address? | The two sockets are connected; an address is for those that are not. |
//! | What else do the processes talk by? | nginx: signals, and shared memory, much more than channels. Here: signals, where a channel does not get through; shared memory, in zones: [`shm`](crate::shm). |
//!
//! # Example
//!
//! A frame of nginx's is read as what it is:
//!
//! ```
//! use forkmesh::wire::{Command, Frame};
//!
//! let mut quit = [0; 32];
//! quit[..8].copy_from_slice(&3_u64.to_ne_bytes()); // command
//! quit[24..28].copy_from_slice(&(-1_i32).to_ne_bytes()); // fd
//!
//! let frame = Frame::from_bytes(&quit);
//! assert_eq!(frame.command(), Ok(Command::Quit));
//! assert_eq!(frame.sender(), None);
//! ```
