//! The programs that say which socket of a group a client gets: classic BPF, the kernel's for packets.
//!
//! ```text
//!   streams      random % count                                   a connection has one packet that matters
//!   datagrams    hash(source address, source port) % count        a flow stays with one worker
//! ```
//!
//! The kernel runs a stream's program for the first packet of a connection. What a program says that
//! is no socket's place, the kernel's own hash says instead. The headers are read from where the
//! network header begins: by then, the packet begins behind them. Of IPv6 with further headers before
//! UDP's, the hash has the address alone.

use crate::sys::listen::Instruction;

/// The longest program, in instructions.
const LONGEST: usize = 40;

pub(super) type Program = heapless::Vec<Instruction, LONGEST>;

/// A program by which the first `count` sockets of a group get all clients.
pub(super) fn among(count: u16, datagram: bool) -> Program {
    let mut program = Program::new();
    let mut put = |code, if_true, if_false, operand| {
        // There is room: the lengths are fixed, and every program is made by a test.
        let _ = program.push(Instruction {
            code,
            if_true,
            if_false,
            operand,
        });
    };
    if datagram {
        hash_of_source(&mut put);
    } else {
        put(LOAD_WORD, 0, 0, RANDOM);
    }
    put(MODULO, 0, 0, count.max(1).into());
    put(RETURN, 0, 0, 0);
    program
}

/// Two roads, by the version of the protocol, which meet where the last multiplication is.
fn hash_of_source(put: &mut impl FnMut(u16, u8, u8, u32)) {
    put(LOAD_BYTE, 0, 0, NETWORK);
    put(AND, 0, 0, 0xf0);
    put(JUMP_IF_EQUAL, 0, V4_LENGTH, 0x40);
    // IPv4: the address, and the port behind a header of a length that it says.
    put(LOAD_HEADER_LENGTH, 0, 0, NETWORK);
    put(LOAD_HALF_BEHIND, 0, 0, NETWORK);
    put(TO_INDEX, 0, 0, 0);
    put(LOAD_WORD, 0, 0, NETWORK + 12);
    put(XOR_INDEX, 0, 0, 0);
    put(JUMP, 0, 0, V6_LENGTH);
    // IPv6: the port, where UDP's header is the next; and the four words of the address.
    put(LOAD_BYTE, 0, 0, NETWORK + 6);
    put(JUMP_IF_EQUAL, 0, 1, UDP);
    put(LOAD_HALF, 0, 0, NETWORK + 40);
    for word in 0..4 {
        put(MULTIPLY, 0, 0, GOLDEN);
        put(TO_INDEX, 0, 0, 0);
        put(LOAD_WORD, 0, 0, NETWORK + 8 + 4 * word);
        put(XOR_INDEX, 0, 0, 0);
    }
    put(MULTIPLY, 0, 0, GOLDEN);
    put(SHIFT_RIGHT, 0, 0, 16);
}

/// How many instructions each road has.
const V4_LENGTH: u8 = 6;
const V6_LENGTH: u32 = 3 + 4 * 4;

const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
/// From where the index says.
const LOAD_HALF_BEHIND: u16 = 0x48;
/// To the index: four times the lower half of a byte.
const LOAD_HEADER_LENGTH: u16 = 0xb1;
const TO_INDEX: u16 = 0x07;
const XOR_INDEX: u16 = 0xac;
const AND: u16 = 0x54;
const MULTIPLY: u16 = 0x24;
const SHIFT_RIGHT: u16 = 0x74;
const MODULO: u16 = 0x94;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x16;
/// SKF_NET_OFF: where the network header begins.
const NETWORK: u32 = 0xfff0_0000;
/// SKF_AD_OFF + SKF_AD_RANDOM.
const RANDOM: u32 = 0xffff_f000 + 56;
const UDP: u32 = 17;
/// 2^32 by the golden ratio: what is multiplied by it is spread over the upper bits.
const GOLDEN: u32 = 0x9e37_79b1;
