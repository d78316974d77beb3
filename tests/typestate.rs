//! What the types of the room `channel` do not allow: one program for each, and the compiler's
//! answer beside it. The name of a file says what cannot be.

#[test]
fn what_the_types_forbid_does_not_compile() {
    let programs = trybuild::TestCases::new();
    programs.pass("tests/ui/allowed/*.rs");
    programs.compile_fail("tests/ui/*.rs");
}
