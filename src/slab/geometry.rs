//! `Geometry`: how large pages and blocks are. Compiled in, the same in every process of a zone.
//!
//! ```text
//!   class     0    1    2    3    4    5    6    7    8    9   10   11   12   13   14    15    16    17
//!   bytes    64   80   96  112  128  160  192  224  256  336  400  512  576  672  816  1024  1360  2048
//!   a page   64   51   42   36   32   25   21   18   16   12   10    8    7    6    5     4     3     2
//! ```
//!
//! What is larger than the last class is a run of whole pages.
//!
//! # Why not powers of two
//!
//! Sizes that are spread evenly waste a quarter in them, on the average; in these classes it is a
//! tenth, and a page has little left over at its end.

use core::num::NonZeroU8;

const GRAIN: usize = 16;
const LARGEST: usize = 2048;

/// One size of blocks: its number in the [`Geometry`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct Class(NonZeroU8);

impl Class {
    /// How many classes a geometry can have.
    pub const MOST: usize = 18;

    /// The class with this number, from 0.
    #[must_use]
    pub const fn new(number: usize) -> Option<Self> {
        if number >= Self::MOST {
            return None;
        }
        match NonZeroU8::new(number as u8 + 1) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number, for indexing.
    #[must_use]
    pub const fn as_usize(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// What a request is given.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fit {
    /// A block of this class.
    Class(Class),
    /// So many pages.
    Run(usize),
}

/// The sizes of pages and of blocks.
#[derive(Debug)]
pub struct Geometry {
    page_size: usize,
    words: usize,
    sizes: &'static [u16],
    /// The class for each number of grains, as its number plus one.
    by_grains: [Option<Class>; LARGEST / GRAIN + 1],
}

/// Pages of 4096 bytes and 18 classes from 64 to 2048 bytes.
pub static STANDARD: Geometry = Geometry::new(
    4096,
    &[
        64, 80, 96, 112, 128, 160, 192, 224, 256, 336, 400, 512, 576, 672, 816, 1024, 1360, 2048,
    ],
);

impl Geometry {
    /// Pages of this size, and blocks of these sizes in bytes.
    ///
    /// # Panics
    ///
    /// Unless the page is a power of two, and the sizes are 1 to 18 multiples of 16 in rising order,
    /// a page holds 64 of the smallest at most, and one of the largest, which has 2048 bytes at most.
    #[must_use]
    pub const fn new(page_size: usize, sizes: &'static [u16]) -> Self {
        assert!(page_size.is_power_of_two() && page_size <= 1 << 16);
        assert!(!sizes.is_empty() && sizes.len() <= Class::MOST);
        let words = page_size / sizes[0] as usize;
        let mut by_grains = [None; LARGEST / GRAIN + 1];
        let (mut class, mut grains) = (0, 0);
        while class < sizes.len() {
            let size = sizes[class] as usize;
            assert!(size.is_multiple_of(GRAIN) && size >= grains * GRAIN && size <= LARGEST);
            assert!(size <= page_size);
            while grains * GRAIN <= size {
                by_grains[grains] = Class::new(class);
                grains += 1;
            }
            class += 1;
        }
        assert!(words >= 1 && words <= 64);
        Self {
            page_size,
            words,
            sizes,
            by_grains,
        }
    }

    /// The size of a page in bytes.
    #[must_use]
    pub const fn page_size(&self) -> usize {
        self.page_size
    }

    /// How many words there are for the blocks of one page.
    #[must_use]
    pub const fn words(&self) -> usize {
        self.words
    }

    /// How many classes there are.
    #[must_use]
    pub const fn class_count(&self) -> usize {
        self.sizes.len()
    }

    /// All classes, the smallest first.
    pub fn classes(&self) -> impl Iterator<Item = Class> + use<> {
        (0..self.sizes.len()).filter_map(Class::new)
    }

    /// The size of the blocks of a class in bytes; 0 for a class that this geometry does not have.
    #[must_use]
    pub const fn size(&self, class: Class) -> usize {
        if class.as_usize() < self.sizes.len() {
            self.sizes[class.as_usize()] as usize
        } else {
            0
        }
    }

    /// How many blocks of a class a page has; 0 for a class that this geometry does not have.
    #[must_use]
    pub const fn blocks(&self, class: Class) -> usize {
        match self.size(class) {
            0 => 0,
            size => self.page_size / size,
        }
    }

    /// What a request of this size, and of this alignment, is given: the smallest class, or a run.
    /// `None` if the alignment is no power of two, or larger than a page.
    #[must_use]
    pub fn fit(&self, size: usize, align: usize) -> Option<Fit> {
        if !align.is_power_of_two() || align > self.page_size {
            return None;
        }
        let smallest = self.by_grains.get(size.div_ceil(GRAIN)).copied().flatten();
        let is_aligned = |class: &Class| self.size(*class).is_multiple_of(align);
        let class =
            smallest.and_then(|smallest| self.classes().skip(smallest.as_usize()).find(is_aligned));
        Some(match class {
            Some(class) => Fit::Class(class),
            None => Fit::Run(size.div_ceil(self.page_size)),
        })
    }

    /// A number that differs, with near certainty, for a geometry that differs (FNV-1a).
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let sizes = self.sizes.iter().map(|size| u64::from(*size));
        let all = [self.page_size as u64, self.words as u64]
            .into_iter()
            .chain(sizes);
        all.fold(0xCBF2_9CE4_8422_2325, |hash, number| {
            (hash ^ number).wrapping_mul(0x0000_0100_0000_01B3)
        })
    }
}
