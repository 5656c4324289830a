import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { createBtfBuilder } from "../../src/btf/builder.ts";
import { createTypeCopier, mergeBtf } from "../../src/btf/copy.ts";
import { type Btf, decodeBtf } from "../../src/btf/decode.ts";
import { alignOf, enumValues, flatMembers, funcProto, getType, kernelStruct } from "../../src/btf/lookup.ts";
import { printC } from "../../src/btf/print-c.ts";
import { printTypeScript } from "../../src/btf/print-typescript.ts";
import type { BtfType } from "../../src/btf/type.ts";
import { hasVmlinux, VMLINUX, vmlinux } from "./fixtures.ts";

const has = (command: string, ...args: string[]): boolean => spawnSync(command, args).status === 0;
const hasBpftool = hasVmlinux && has("bpftool", "version");
const hasGcc = hasVmlinux && has("gcc", "--version");

describe.runIf(hasVmlinux)("the running kernel's BTF", () => {
  let btf: Btf;
  beforeAll(() => {
    btf = vmlinux();
  });

  test("every type decodes", () => {
    expect(btf.typeCount).toBeGreaterThan(10_000);
    for (let id = 0; id < btf.typeCount; id++) btf.type(id);
  });

  test("every named type is found by its name", () => {
    for (let id = 1; id < btf.typeCount; id += 97) {
      const type = btf.type(id);
      if ("name" in type && type.name !== "") expect(btf.ids(type.name, type.kind)).toContain(id);
    }
  });

  test("structs whose layout is part of the kernel's promise", () => {
    const ethhdr = kernelStruct(btf, "ethhdr");
    expect(ethhdr.size).toBe(14);
    expect(ethhdr.field("h_proto")).toMatchObject({ offset: 12, size: 2 });
    const iphdr = kernelStruct(btf, "iphdr");
    expect(iphdr.size).toBe(20);
    expect(iphdr.field("protocol")).toMatchObject({ offset: 9, size: 1 });
    expect(iphdr.field("version").bitfield).toEqual({ shift: 4, width: 4, signed: false });
    expect(kernelStruct(btf, "__sk_buff").field("len")).toMatchObject({ offset: 0, size: 4 });
    expect(kernelStruct(btf, "xdp_md").size).toBe(24);
    expect(Object.fromEntries(enumValues(btf, "xdp_action"))).toMatchObject({ XDP_PASS: 2, XDP_REDIRECT: 4 });
  });

  test("structs that only this kernel knows", () => {
    const task = kernelStruct(btf, "task_struct");
    expect(task.field("pid").size).toBe(4);
    expect(task.field("comm")).toMatchObject({ size: 16 });
    expect(task.field("comm[3]").offset).toBe(task.field("comm").offset + 3);
    expect(task.has("no_such_field")).toBe(false);
    const family = kernelStruct(btf, "inet_sock").field("sk.__sk_common.skc_family");
    expect(family.offset).toBe(kernelStruct(btf, "sock").field("__sk_common.skc_family").offset);
    expect(family.size).toBe(2);
  });

  test("functions", () => {
    const { type } = funcProto(btf, "tcp_v4_connect");
    expect(type.params.map(({ name }) => name)).toEqual(["sk", "uaddr", "addr_len"]);
  });

  test("types copied out of it are the same types", () => {
    const b = createBtfBuilder();
    const copy = createTypeCopier(btf, b);
    for (const name of ["task_struct", "sk_buff", "xdp_buff"]) {
      const { id } = getType(btf, "struct", name);
      const copied = copy(id);
      const reread = decodeBtf(b.encode());
      expect(printC(reread, copied)).toBe(printC(btf, id));
      expect(reread.ids(name, "struct")).toEqual([copied]);
    }
  });

  test("all of it goes through a builder without growing", () => {
    const b = createBtfBuilder();
    mergeBtf(b, btf);
    expect(b.typeCount).toBe(btf.typeCount);
    expect(decodeBtf(b.encode()).typeCount).toBe(btf.typeCount);
  });

  test("every struct and enum with a name has a form in TypeScript", () => {
    for (const kind of ["struct", "union", "enum", "enum64"] as const) {
      for (let id = 1; id < btf.typeCount; id++) {
        if (btf.kind(id) === kind && btf.name(id) !== "") printTypeScript(btf, id);
      }
    }
  });
});

test.runIf(hasBpftool)("bpftool reads the same types", () => {
  const options = { maxBuffer: 2 ** 28, encoding: "utf8" } as const;
  const { types } = JSON.parse(execFileSync("bpftool", ["-j", "btf", "dump", "file", VMLINUX], options));
  const btf = vmlinux();
  expect(types).toHaveLength(btf.typeCount - 1);
  for (const theirs of types) {
    // bpftool 7.1 shows unsigned values above 2^31 as if they were negative, in 64 bits.
    for (const value of theirs.kind === "ENUM" ? theirs.values : [])
      if (value.val >= 2 ** 31) value.val = "large";
    expect(asBpftool(btf, theirs.id)).toEqual(theirs);
  }
});

// gcc lays out what we print; where it puts things is compared with where BTF says they are.
test.runIf(hasGcc)("printed as C, every struct has its size and offsets", () => {
  const btf = vmlinux();
  const ids = Array.from({ length: btf.typeCount - 1 }, (_, index) => index + 1).filter(
    (id) => !["func", "var", "datasec", "declTag"].includes(btf.kind(id)),
  );
  // Anonymous enums after the types that contain them.
  ids.sort((a, b) => Number(btf.name(a) === "") - Number(btf.name(b) === ""));
  const source = [printC(btf, ids)];
  let checks = 0;
  const check = (condition: string): void => {
    checks++;
    source.push(`_Static_assert(${condition}, "");`);
  };
  for (const id of ids) {
    const type = btf.type(id);
    if ((type.kind !== "struct" && type.kind !== "union") || type.name === "") continue;
    const sameTag = btf.ids(type.name).filter((id) => ["struct", "union", "enum"].includes(btf.kind(id)));
    if (sameTag.length > 1) continue;
    const tag = `${type.kind} ${type.name}`;
    check(`sizeof(${tag}) == ${type.size}`);
    check(`_Alignof(${tag}) == ${alignOf(btf, id)}`);
    for (const { name, bitOffset, bitfieldSize } of flatMembers(btf, id)) {
      if (bitfieldSize === 0) check(`__builtin_offsetof(${tag}, ${name}) == ${bitOffset / 8}`);
    }
  }
  expect(checks).toBeGreaterThan(10_000);
  const folder = mkdtempSync(join(tmpdir(), "tsbpf-btf-"));
  try {
    const file = join(folder, "vmlinux.c");
    writeFileSync(file, source.join("\n"));
    const { status, stderr } = spawnSync("gcc", ["-std=gnu11", "-w", "-fsyntax-only", file], {
      encoding: "utf8",
    });
    expect(stderr.slice(0, 2000)).toBe("");
    expect(status).toBe(0);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

/** A type as `bpftool -j btf dump` writes it. */
function asBpftool(btf: Btf, id: number): unknown {
  const type = btf.type(id) as BtfType;
  const anon = (name: string): string => name || "(anon)";
  const head = (kind: string): object => ({ id, kind, name: anon(btf.name(id)) });
  switch (type.kind) {
    case "int": {
      const encoding = type.encoding === "unsigned" ? "(none)" : type.encoding.toUpperCase();
      return { ...head("INT"), size: type.size, bits_offset: type.bitOffset, nr_bits: type.bits, encoding };
    }
    case "array":
      return { ...head("ARRAY"), type_id: type.type, index_type_id: type.indexType, nr_elems: type.length };
    case "struct":
    case "union": {
      const hasBitfields = type.members.some(({ bitfieldSize }) => bitfieldSize > 0);
      const members = type.members.map(({ name, type, bitOffset, bitfieldSize }) => ({
        name: anon(name),
        type_id: type,
        bits_offset: bitOffset,
        ...(hasBitfields && bitfieldSize > 0 && { bitfield_size: bitfieldSize }),
      }));
      return { ...head(type.kind.toUpperCase()), size: type.size, vlen: members.length, members };
    }
    case "enum":
    case "enum64": {
      const values = type.values.map(({ name, value }) => ({
        name,
        val: type.kind === "enum" && value >= 2 ** 31 ? "large" : Number(value),
      }));
      const encoding = type.signed ? "SIGNED" : "UNSIGNED";
      return { ...head(type.kind.toUpperCase()), encoding, size: type.size, vlen: values.length, values };
    }
    case "fwd":
      return { ...head("FWD"), fwd_kind: type.of };
    case "func":
    case "var":
      return { ...head(type.kind.toUpperCase()), type_id: type.type, linkage: type.linkage };
    case "funcProto": {
      const params = type.params.map(({ name, type }) => ({ name: anon(name), type_id: type }));
      if (type.variadic) params.push({ name: "(anon)", type_id: 0 });
      return { ...head("FUNC_PROTO"), ret_type_id: type.type, vlen: params.length, params };
    }
    case "datasec": {
      const vars = type.entries.map(({ type, offset, size }) => ({ type_id: type, offset, size }));
      return { ...head("DATASEC"), size: type.size, vlen: vars.length, vars };
    }
    case "float":
      return { ...head("FLOAT"), size: type.size };
    case "declTag":
      return { ...head("DECL_TAG"), type_id: type.type, component_idx: type.component };
    case "typeTag":
      return { ...head("TYPE_TAG"), type_id: type.type };
    default:
      return { ...head(type.kind.toUpperCase()), type_id: type.type };
  }
}
