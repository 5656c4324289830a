import { describe, expect, test } from "vitest";
import { createBtfBuilder } from "../../src/btf/builder.ts";
import { BtfError } from "../../src/btf/error.ts";
import { printC } from "../../src/btf/print-c.ts";
import { type Basics, basics, everyKind } from "./fixtures.ts";

const lines = (...text: string[]): string => `${text.join("\n")}\n`;

describe("one type", () => {
  const rows: readonly (readonly [what: string, (t: Basics) => number, c: string])[] = [
    [
      "struct with an array and a pointer",
      ({ b, u8, u16 }) =>
        b.struct("s", 24, [
          { name: "mac", type: b.array(u8, 6), bitOffset: 0 },
          { name: "proto", type: u16, bitOffset: 48 },
          { name: "fn", type: b.ptr(b.funcProto(0, [{ name: "arg", type: b.ptr() }])), bitOffset: 64 },
          { name: "rest", type: b.array(u8, 0), bitOffset: 128 },
        ]),
      lines(
        "struct s {",
        "\tunsigned char mac[6];",
        "\tshort unsigned int proto;",
        "\tvoid (*fn)(void *arg);",
        "\tunsigned char rest[0];",
        "\tlong long: 64;",
        "};",
      ),
    ],
    [
      "bitfields and a gap between them",
      ({ b, u32 }) =>
        b.struct("s", 4, [
          { name: "a", type: u32, bitOffset: 0, bitfieldSize: 3 },
          { name: "b", type: u32, bitOffset: 20, bitfieldSize: 12 },
        ]),
      lines(
        "struct s {",
        "\tunsigned int a: 3;",
        "\tchar: 5;",
        "\tchar: 8;",
        "\tchar: 4;",
        "\tunsigned int b: 12;",
        "};",
      ),
    ],
    [
      "packed",
      ({ b, u8, u32 }) =>
        b.struct("s", 5, [
          { name: "a", type: u8, bitOffset: 0 },
          { name: "b", type: u32, bitOffset: 8 },
        ]),
      lines("struct s {", "\tunsigned char a;", "\tunsigned int b;", "} __attribute__((packed));"),
    ],
    [
      "aligned union",
      ({ b, u32 }) => b.union("u", 64, [{ name: "a", type: u32, bitOffset: 0 }]),
      lines("union u {", "\tunsigned int a;", "} __attribute__((aligned(64)));"),
    ],
    [
      "large gap",
      ({ b, u32 }) => b.struct("s", 4096, [{ name: "a", type: u32, bitOffset: 0 }]),
      lines("struct s {", "\tunsigned int a;", "\tchar __pad_4[4092];", "};"),
    ],
    ["empty", ({ b }) => b.struct("s", 0, []), "struct s {};\n"],
    [
      "opaque",
      ({ b }) => b.struct("bpf_timer", 16, []),
      lines("struct bpf_timer {", "\tlong long: 64;", "\tlong long: 64;", "};"),
    ],
    ["enum", ({ b }) => b.enum("e", { A: 0, B: -1 }), lines("enum e {", "\tA = 0,", "\tB = -1,", "};")],
    [
      "enum of a byte",
      ({ b }) => b.enum("e", { A: 200 }, { size: 1 }),
      lines("enum e {", "\tA = 200,", "} __attribute__((mode(byte)));"),
    ],
    [
      "enum64",
      ({ b }) => b.enum64("e", { A: 2n ** 63n }),
      lines("enum e {", "\tA = 9223372036854775808ULL,", "};"),
    ],
    [
      "the lowest number there is",
      ({ b }) => b.enum64("e", { A: -(2n ** 63n) }),
      lines("enum e {", "\tA = -9223372036854775807LL - 1,", "};"),
    ],
    ["enum without values", ({ b }) => b.enum("e", {}), "enum e;\n"],
    ["fwd", ({ b }) => b.fwd("u", "union"), "union u;\n"],
    [
      "typedef of an anonymous struct",
      ({ b, u32 }) => b.typedef("t", b.struct("", 4, [{ name: "a", type: u32, bitOffset: 0 }])),
      lines("typedef struct {", "\tunsigned int a;", "} t;"),
    ],
    [
      "typedef of a function pointer",
      ({ b, int }) => b.typedef("fn_t", b.ptr(b.funcProto(int, [], { variadic: true }))),
      "typedef int (*fn_t)(...);\n",
    ],
    [
      "func",
      ({ b, int }) =>
        b.func(
          "tcp_connect",
          b.funcProto(int, [{ name: "sk", type: b.ptr(b.struct("sock", 8, [])) }]),
          "global",
        ),
      lines("struct sock;", "extern int tcp_connect(struct sock *sk);"),
    ],
    ["var", ({ b, u32 }) => b.var("jiffies", b.volatile(u32)), "extern volatile unsigned int jiffies;\n"],
    [
      "type tag",
      ({ b, u32 }) => b.typedef("user_ptr", b.ptr(b.typeTag("user", u32))),
      `typedef __attribute__((btf_type_tag("user"))) unsigned int *user_ptr;\n`,
    ],
    ["__builtin_va_list is the compiler's", ({ b, u32 }) => b.typedef("__builtin_va_list", u32), ""],
  ];
  test.each(rows)("%s", (_, make, c) => {
    const t = basics();
    expect(printC(t.b, make(t))).toBe(c);
  });
});

describe("what a type needs comes first", () => {
  test("definitions of what it holds, declarations of what it points to", () => {
    const b = everyKind();
    const ids = Array.from({ length: b.typeCount }, (_, id) => id);
    const item = ids.find((id) => (b.type(id) as { name?: string }).name === "item") ?? 0;
    expect(printC(b, item)).toBe(
      lines(
        "struct list_head;",
        "",
        "struct list_head {",
        "\tstruct list_head *next;",
        "\tstruct list_head *prev;",
        "};",
        "",
        "enum color {",
        "\tRED = 0,",
        "\tGREEN = 1,",
        "\tNONE = -1,",
        "};",
        "",
        "struct item {",
        "\tstruct list_head list;",
        "\tunsigned char low: 4;",
        "\tunsigned char high: 4;",
        "\tconst enum color color;",
        "\tunion {",
        "\t\tlong long unsigned int whole;",
        "\t\tunsigned int half;",
        "\t};",
        "\tchar name[8];",
        "};",
      ),
    );
  });

  test("two structs that hold pointers to each other", () => {
    const { b } = basics();
    const second = b.reserve();
    const first = b.struct("first", 8, [{ name: "second", type: b.ptr(second), bitOffset: 0 }]);
    b.define(second, {
      kind: "struct",
      name: "second",
      size: 8,
      members: [{ name: "first", type: first, bitOffset: 0, bitfieldSize: 0 }],
    });
    expect(printC(b, [first, second])).toBe(
      lines(
        "struct second;",
        "",
        "struct first {",
        "\tstruct second *second;",
        "};",
        "",
        "struct second {",
        "\tstruct first first;",
        "};",
      ),
    );
  });

  test("a type is defined once, however often it is asked for", () => {
    const { b, u32 } = basics();
    const id = b.typedef("u32", u32);
    expect(printC(b, [id, id, b.typedef("also", id)])).toBe("typedef unsigned int u32;\ntypedef u32 also;\n");
  });

  test("an array of structs needs the struct, even behind a pointer", () => {
    const { b } = basics();
    const s = b.struct("s", 0, []);
    expect(printC(b, b.typedef("t", b.ptr(b.array(s, 2))))).toBe("struct s {};\ntypedef struct s (*t)[2];\n");
  });
});

test("a second type of the same name gets a number", () => {
  const { b, u32, u64 } = basics();
  const first = b.struct("s", 4, [{ name: "a", type: u32, bitOffset: 0 }]);
  const second = b.union("s", 8, [{ name: "a", type: u64, bitOffset: 0 }]);
  const typedefs = [b.typedef("t", first), b.typedef("t", second)];
  const enums = [b.enum("e", { A: 1 }), b.enum("f", { A: 2 })];
  const c = printC(b, [...typedefs, ...enums]);
  for (const part of ["struct s {", "union s___2 {", "typedef struct s t;", "typedef union s___2 t___2;"]) {
    expect(c).toContain(part);
  }
  expect(c).toContain("enum f {\n\tA___2 = 2,\n};");
});

describe("types that no compiler wrote", () => {
  test("a struct in itself", () => {
    const { b } = basics();
    const id = b.struct("s", 8, (self) => [{ name: "self", type: self, bitOffset: 0 }]);
    expect(() => printC(b, id)).toThrow(`type ${id} contains itself`);
  });

  test("a typedef of itself", () => {
    const { b } = basics();
    const id = b.reserve();
    b.define(id, { kind: "typedef", name: "t", type: id });
    expect(() => printC(b, id)).toThrow(`typedef 't' (type ${id}) is made of itself`);
  });

  test("a loop of pointers", () => {
    const b = createBtfBuilder();
    const id = b.reserve();
    b.define(id, { kind: "ptr", type: id });
    expect(() => printC(b, id)).toThrow(BtfError);
  });

  test("anonymous structs that double at each level", () => {
    const { b, u8 } = basics();
    let id = b.struct("", 0, [{ name: "x", type: u8, bitOffset: 0 }]);
    for (let level = 0; level < 40; level++) {
      id = b.struct("", 0, [
        { name: `a${level}`, type: id, bitOffset: 0 },
        { name: `b${level}`, type: id, bitOffset: 0 },
      ]);
    }
    const top = b.typedef("top", id);
    expect(() => printC(b, top)).toThrow(BtfError);
  });
});
