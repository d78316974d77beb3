//! The zones of a service over reloads and upgrades.

use forkmesh::shm::{
    Backing, MapConfig, Mapping, NotAttached, NotDeclared, NotInherited, NotMade, NotMapped,
    Origin, Tag, Vetoed, Zone, ZoneConfig, Zones,
};
use forkmesh::slab::NoLayout;
use forkmesh::sync::{AtomicU64, Mutex, MutexName, Ordering::Relaxed};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::dup;

use crate::memory::Scratch;
use crate::support::opened_by;
use crate::{MASTER, TAG, config, id};

/// What a hook was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    New,
    Kept,
    /// With what the old zone says.
    Replaces(u64),
    Nothing,
}

fn mark(zone: &Zone) -> &AtomicU64 {
    zone.fixed().unwrap()
}

/// Declares a zone, and says what its hook was told and what is in the zone.
fn declare(zones: &mut Zones, config: &ZoneConfig<'_>) -> Result<(Told, u64), NotDeclared> {
    let (mut told, mut found) = (Told::Nothing, 0);
    zones.declare(config, |zone, origin| {
        told = match origin {
            Origin::Replaces(old) => Told::Replaces(mark(old).load(Relaxed)),
            Origin::Kept => Told::Kept,
            _ => Told::New,
        };
        found = mark(zone).load(Relaxed);
        Ok(())
    })?;
    Ok((told, found))
}

/// Zones with one that says 7, of epoch 1.
fn with_a_zone() -> Zones {
    let mut zones = Zones::new(MASTER);
    zones.prepare(1);
    assert_eq!(declare(&mut zones, &config("a")), Ok((Told::New, 0)));
    zones.commit();
    mark(zones.find("a", 1).unwrap()).store(7, Relaxed);
    zones
}

pub(crate) fn the_rules_of_a_reload() {
    let larger = ZoneConfig::new("a", TAG, 300 << 10).slots(4);
    let other = Tag::of("somebody else");
    let cases = [
        (config("a"), Told::Kept, 7),
        (config("b"), Told::New, 0),
        (larger, Told::Replaces(7), 0),
        (config("a").slots(5), Told::Replaces(7), 0),
        (config("a").fixed(9000), Told::Replaces(7), 0),
        (config("a").keep(false), Told::Replaces(7), 0),
        (
            ZoneConfig::new("a", other, 256 << 10).slots(4),
            Told::New,
            0,
        ),
        (
            config("a").map(MapConfig::new().backing(Backing::Anonymous)),
            Told::Kept,
            7,
        ),
    ];
    for (asked, told, found) in cases {
        let mut zones = with_a_zone();
        let before: *const AtomicU64 = mark(zones.find("a", 1).unwrap());
        zones.prepare(2);
        assert_eq!(declare(&mut zones, &asked), Ok((told, found)), "{asked:?}");
        // Twice is once.
        assert_eq!(declare(&mut zones, &asked), Ok((Told::Nothing, 0)));
        zones.commit();
        let zone = zones.find(asked_name(&asked), 2).unwrap();
        let is_same = core::ptr::eq(mark(zone), before);
        assert_eq!(is_same, told == Told::Kept);
        // Those of epoch 1 have theirs, until none of them is left.
        assert!(core::ptr::eq(mark(zones.find("a", 1).unwrap()), before));
        assert_eq!(zones.settle(1), 0);
        assert_eq!(zones.settle(2), usize::from(told != Told::Kept));
        assert_eq!(zones.iter().count(), 1);
    }
}

fn asked_name<'n>(asked: &ZoneConfig<'n>) -> &'n str {
    if *asked == config("b") { "b" } else { "a" }
}

pub(crate) fn a_failed_reload_leaves_every_zone() {
    let mut zones = with_a_zone();
    let before: *const AtomicU64 = mark(zones.find("a", 1).unwrap());
    // One that fails while it is prepared, one that is vetoed, and one whose workers do not come up.
    for epoch in 2..5 {
        zones.prepare(epoch);
        let vetoed = zones.declare(&config("a"), |_, _| Err(Vetoed));
        assert_eq!(vetoed, Err(NotDeclared::Vetoed));
        declare(&mut zones, &config("a").keep(false)).unwrap();
        declare(&mut zones, &config("b")).unwrap();
        mark(zones.find("a", epoch).unwrap()).store(8, Relaxed);
        assert!(zones.find("b", 1).is_none());
        if epoch == 2 {
            let refused = zones.declare(&config("c"), |_, _| Err(Vetoed));
            assert_eq!(refused, Err(NotDeclared::Vetoed));
            assert!(zones.find("c", epoch).is_none());
        }
        zones.roll_back();
        // Its workers may live for a moment, and be recovered there.
        assert!(zones.find("b", epoch).is_some());
        assert_eq!(zones.settle(epoch + 1), 2);
        let zone = zones.find("a", 1).unwrap();
        assert!(core::ptr::eq(mark(zone), before) && mark(zone).load(Relaxed) == 7);
        assert_eq!(zones.iter().count(), 1);
    }
    // And one that is begun anew rolls back what it had.
    zones.prepare(5);
    declare(&mut zones, &config("b")).unwrap();
    zones.prepare(6);
    assert_eq!(declare(&mut zones, &config("a")), Ok((Told::Kept, 7)));
    zones.commit();
    assert_eq!(zones.settle(6), 1);
    assert_eq!(zones.iter().count(), 1);
}

/// Workers of two epochs, and one that is respawned into the old one while the new one is prepared.
pub(crate) fn an_old_worker_finds_its_own_zone() {
    let mut zones = with_a_zone();
    zones.prepare(2);
    declare(&mut zones, &config("a").keep(false)).unwrap();
    mark(zones.find("a", 2).unwrap()).store(8, Relaxed);
    for _ in 0..2 {
        assert_eq!(mark(zones.find("a", 1).unwrap()).load(Relaxed), 7);
        assert_eq!(mark(zones.find("a", 2).unwrap()).load(Relaxed), 8);
        zones.commit();
    }
    assert!(zones.find("a", 0).is_none());
}

fn clone(memory: impl AsFd) -> OwnedFd {
    dup(memory).unwrap()
}

pub(crate) fn zones_are_handed_over() {
    let mut zones = with_a_zone();
    zones.prepare(2);
    declare(&mut zones, &config("a")).unwrap();
    declare(&mut zones, &config("b")).unwrap();
    let anonymous = config("c").map(MapConfig::new().backing(Backing::Anonymous));
    declare(&mut zones, &anonymous).unwrap();
    zones.commit();
    let offered: Vec<(String, OwnedFd)> = zones
        .descriptors()
        .map(|(name, memory)| (name.to_owned(), clone(memory)))
        .collect();
    let names: Vec<&str> = offered.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);

    let mut heir = Zones::new(id(1022));
    for (name, memory) in &offered {
        assert_eq!(heir.inherit("x", clone(memory)), Err(NotInherited::Name));
        heir.inherit(name, clone(memory)).unwrap();
        let again = heir.inherit(name, clone(memory));
        assert_eq!(again, Err(NotInherited::Duplicate));
    }
    heir.prepare(1);
    assert_eq!(declare(&mut heir, &config("a")), Ok((Told::Kept, 7)));
    heir.commit();
    assert!(heir.find("b", 1).is_none());
    assert_eq!(heir.settle(1), 1);
    mark(heir.find("a", 1).unwrap()).store(9, Relaxed);
    assert_eq!(mark(zones.find("a", 2).unwrap()).load(Relaxed), 9);

    let ((), left) = opened_by(|| {
        let (_, memory) = &offered[0];
        let mapping = Mapping::attach(clone(memory)).unwrap();
        let stranger = Zone::attach(mapping, Some(Tag::of("another"))).map(drop);
        assert_eq!(stranger.unwrap_err(), NotAttached::Tag);
        let blank = Mapping::create(c"blank", 8192, MapConfig::new()).unwrap();
        let refused = heir.inherit("blank", clone(blank.descriptor().unwrap()));
        let unmade = NotInherited::Attached(NotAttached::Unmade);
        assert_eq!(refused, Err(unmade));
        let pipe = rustix::pipe::pipe().unwrap().0;
        let refused = heir.inherit("pipe", pipe);
        let unsealed = NotAttached::Mapped(NotMapped::NotSealed);
        assert_eq!(refused, Err(NotInherited::Attached(unsealed)));
    });
    assert!(left.is_empty(), "{left:?}");
}

/// A zone that outlives its service: the next one recovers what the last one's workers held.
pub(crate) fn a_zone_can_be_a_file() {
    let scratch = Scratch::new("zone");
    let file = |length| Mapping::of_file(scratch.open(), length).unwrap();
    let mapping = file(256 << 10);
    let zone = Zone::create_in(mapping, &config("kept"), 0).unwrap();
    let joined = zone.join(id(0)).unwrap();
    let link = zone.root::<u64>(0).unwrap();
    link.insert(joined.alloc(11).unwrap()).unwrap();
    core::mem::forget(joined.alloc(12_u64).unwrap());
    drop(joined);
    drop(zone);

    let zone = Zone::attach(file(0), Some(TAG)).unwrap();
    let not_blank = Zone::create_in(
        Mapping::attach_file(scratch.open()).unwrap(),
        &config("x"),
        0,
    );
    assert_eq!(not_blank.map(drop).unwrap_err(), NotMade::NotBlank);
    let mut zones = Zones::new(MASTER);
    zones.adopt(zone).unwrap();
    let left = zones.left_behind(|_| true);
    assert_eq!(left.as_slice(), [id(0)]);
    let mut recovering = zones.recover(left[0]);
    while !zones.step(&mut recovering) {}
    assert!(recovering.recovered().blocks >= 1);
    let zone = zones.find("kept", 0).unwrap();
    let joined = zone.join(id(0)).unwrap();
    assert_eq!(zone.root::<u64>(0).unwrap().read(&joined), Some(11));
}

pub(crate) fn what_cannot_be_declared() {
    let mut zones = with_a_zone();
    let not_now = declare(&mut zones, &config("b"));
    assert_eq!(not_now, Err(NotDeclared::NotPreparing));
    zones.prepare(2);
    let nothing = ZoneConfig::new("b", TAG, 0);
    let made = |why| Err(NotDeclared::Made(why));
    assert_eq!(declare(&mut zones, &nothing), made(NotMade::NoSize));
    let small = ZoneConfig::new("b", TAG, 4096);
    let too_small = NotMade::Layout(NoLayout::TooSmall);
    assert_eq!(declare(&mut zones, &small), made(too_small));
    let endless = config("b").fixed(usize::MAX);
    assert_eq!(declare(&mut zones, &endless), made(too_small));
    let no_slots = config("b").slots(0);
    assert_eq!(
        declare(&mut zones, &no_slots),
        made(NotMade::Layout(NoLayout::Slots))
    );
    for name in ["", "a\0b", &"x".repeat(65)] {
        assert_eq!(declare(&mut zones, &config(name)), made(NotMade::Name));
    }
    declare(&mut zones, &config(&"x".repeat(64))).unwrap();
    let huge = ZoneConfig::new("b", TAG, 1 << 60);
    assert!(matches!(
        declare(&mut zones, &huge),
        Err(NotDeclared::Made(NotMade::Mapped(_)))
    ));
    declare(&mut zones, &config("a")).unwrap();
    let stranger = ZoneConfig::new("a", Tag::of("x"), 256 << 10).slots(4);
    assert_eq!(declare(&mut zones, &stranger), Err(NotDeclared::Tag));
    let larger = ZoneConfig::new("a", TAG, 512 << 10).slots(4);
    assert_eq!(declare(&mut zones, &larger), Err(NotDeclared::Differs));
    let names: Vec<String> = (0..Zones::MOST)
        .map(|number| format!("n{number}"))
        .collect();
    let results = names.iter().map(|name| declare(&mut zones, &config(name)));
    let results: Vec<_> = results.collect();
    assert_eq!(results[..30], vec![Ok((Told::New, 0)); 30]);
    assert_eq!(results[30..], [Err(NotDeclared::TooMany); 2]);
    zones.roll_back();
    assert_eq!(mark(zones.find("a", 1).unwrap()).load(Relaxed), 7);

    // A mutex has a name that leads to it and to no other.
    let zone = zones.find("a", 1).unwrap();
    let mutex: &Mutex = zone.fixed().unwrap();
    let name = zone.name_of(mutex).unwrap();
    assert!(core::ptr::eq(zones.mutex(name).unwrap(), mutex));
    assert_eq!(zone.name_of(&Mutex::new()), None);
    let outside = MutexName::new(name.as_u64() | ((1 << 48) - 1)).unwrap();
    assert!(zone.mutex(outside).is_none());
    assert!(
        zones
            .mutex(MutexName::new(name.as_u64() + (60 << 48)).unwrap())
            .is_none()
    );
    assert!(
        zones
            .mutex(MutexName::new(name.as_u64() + 2).unwrap())
            .is_none()
    );
}
