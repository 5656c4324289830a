import { expect, test } from "vitest";
import { type BtfBuilder, createBtfBuilder } from "../../../src/btf/builder.ts";
import { createTypeCopier } from "../../../src/btf/copy.ts";
import { decodeBtf } from "../../../src/btf/decode.ts";
import {
  decodeFuncInfo,
  decodeLineInfo,
  encodeFuncInfo,
  encodeLineInfo,
  FUNC_INFO_SIZE,
  LINE_INFO_SIZE,
} from "../../../src/btf/ext.ts";
import { getType } from "../../../src/btf/lookup.ts";
import { mapCreate } from "../../../src/syscall/bpf-map.ts";
import { btfGetFdById, btfLoad, objGetInfoByFd } from "../../../src/syscall/bpf-object.ts";
import { progLoad } from "../../../src/syscall/bpf-prog.ts";
import { Fd } from "../../../src/syscall/fd.ts";
import { linuxSyscalls } from "../../../src/syscall/ffi.ts";
import { BPF_F_RDONLY_PROG, bpf_map_type, bpf_prog_type } from "../../../src/uapi/bpf.ts";
import { bpf_btf_info, bpf_map_info, bpf_prog_info } from "../../../src/uapi/structs.ts";
import { allTypes, basics, decoded, everyKind, vmlinux } from "../../btf/fixtures.ts";
import { describeKernel } from "../../support/privileges.ts";

const sys = linuxSyscalls();

interface Loaded extends Disposable {
  readonly fd: number;
}

/** Loads a blob, or fails with the kernel's log. */
function load(blob: Uint8Array): Loaded {
  const quiet = btfLoad(sys, { btf: blob });
  if (quiet.result < 0) throw new Error(`${quiet.result}\n${kernelLog(blob).slice(-2000)}`);
  const fd = Fd.own(sys, quiet.result, "btf");
  return { fd: fd.number, [Symbol.dispose]: () => fd.close() };
}

function kernelLog(blob: Uint8Array): string {
  const log = new Uint8Array(1 << 20);
  const { result } = btfLoad(sys, { btf: blob, log_level: 1, log_buf: log });
  if (result >= 0) Fd.own(sys, result, "btf").close();
  return new TextDecoder().decode(log.subarray(0, log.indexOf(0)));
}

/** The blob as the kernel keeps it. */
function readBack(fd: number): Uint8Array {
  const blob = new Uint8Array(1 << 20);
  const info = new Uint8Array(bpf_btf_info.size);
  const view = new DataView(info.buffer);
  pointer(view, bpf_btf_info.btf, blob);
  view.setUint32(bpf_btf_info.btf_size, blob.length, true);
  objGetInfoByFd(sys, fd, info, [blob]);
  return blob.slice(0, view.getUint32(bpf_btf_info.btf_size, true));
}

function pointer(view: DataView, offset: number, target: Uint8Array): void {
  view.setBigUint64(offset, BigInt(sys.addressOf(target)), true);
}

describeKernel("BTF that we build", () => {
  test("every kind is accepted, and kept byte for byte", () => {
    const blob = everyKind().encode();
    using btf = load(blob);
    expect(Buffer.from(readBack(btf.fd)).equals(Buffer.from(blob))).toBe(true);
    expect(allTypes(decodeBtf(readBack(btf.fd)))).toEqual(allTypes(everyKind()));
  });

  const each: readonly (readonly [what: string, (b: BtfBuilder, u32: number) => unknown])[] = [
    ["int", (b) => b.int("__int128 unsigned", 16)],
    ["bool", (b) => b.int("_Bool", 1, "bool")],
    ["int of 3 bits", (b) => b.int("bits", 4, "unsigned", { bits: 3, bitOffset: 0 })],
    ["void pointer", (b) => b.ptr()],
    ["array of arrays", (b, u32) => b.array(b.array(u32, 3), 2)],
    ["empty struct", (b) => b.struct("empty", 0, [])],
    [
      "struct that points to itself",
      (b) => b.struct("s", 8, (s) => [{ name: "next", type: b.ptr(s), bitOffset: 0 }]),
    ],
    [
      "bitfields",
      (b, u32) =>
        b.struct("s", 4, [
          { name: "a", type: u32, bitOffset: 0, bitfieldSize: 5 },
          { name: "b", type: u32, bitOffset: 5, bitfieldSize: 27 },
        ]),
    ],
    ["union", (b, u32) => b.union("u", 4, [{ name: "a", type: u32, bitOffset: 0 }])],
    ["signed enum", (b) => b.enum("e", { A: -1 })],
    ["enum of a byte", (b) => b.enum("e", { A: 255 }, { size: 1 })],
    ["enum without values", (b) => b.enum("e", {})],
    ["enum64", (b) => b.enum64("e", { A: -(2n ** 63n) })],
    ["fwd", (b) => b.fwd("f", "struct")],
    ["qualifiers", (b, u32) => b.restrict(b.ptr(b.const(b.volatile(b.typedef("t", u32)))))],
    ["global func", (b, u32) => b.func("f", b.funcProto(u32, [{ name: "ctx", type: b.ptr() }]), "global")],
    ["variadic", (b, u32) => b.funcProto(0, [{ name: "fmt", type: b.ptr(u32) }], { variadic: true })],
    ["static var", (b, u32) => b.var("v", u32, "static")],
    ["float", (b) => b.float("long double", 16)],
    [
      "decl_tag on a member",
      (b, u32) => b.declTag("t", b.struct("s", 4, [{ name: "a", type: u32, bitOffset: 0 }]), 0),
    ],
    ["type_tag", (b, u32) => b.ptr(b.typeTag("user", u32))],
    ["name of 511 characters", (b, u32) => b.typedef("n".repeat(511), u32)],
    [
      "name with a dot in a section and a variable",
      (b, u32) => b.datasec(".data.once", 4, [{ type: b.var("x.1", u32), offset: 0, size: 4 }]),
    ],
  ];
  test.each(each)("%s", (_, build) => {
    const { b, u32 } = basics();
    build(b, u32);
    load(b.encode())[Symbol.dispose]();
  });

  test("kernel types copied out of vmlinux are accepted again", () => {
    for (const pointedTo of ["copy", "declare"] as const) {
      const b = createBtfBuilder();
      const copy = createTypeCopier(vmlinux(), b, { pointedTo });
      copy(getType(vmlinux(), "struct", "sk_buff").id);
      copy(getType(vmlinux(), "struct", "task_struct").id);
      load(b.encode())[Symbol.dispose]();
    }
  });

  // What one record alone cannot tell is left to the kernel, whose log says it.
  test("a member that is larger than its struct is the kernel's to refuse", () => {
    const { b, u64 } = basics();
    b.struct("small", 4, [{ name: "large", type: u64, bitOffset: 0 }]);
    expect(btfLoad(sys, { btf: b.encode() }).result).toBe(-22);
    expect(kernelLog(b.encode())).toContain("Member exceeds struct_size");
  });
});

describeKernel("BTF of a map", () => {
  const mapInfo = (fd: number): DataView => {
    const info = new Uint8Array(bpf_map_info.size);
    objGetInfoByFd(sys, fd, info);
    return new DataView(info.buffer);
  };

  test("key and value", () => {
    const { b, u32, u64 } = basics();
    const key = b.typedef("cpu_t", u32);
    const value = b.struct("counters", 16, [
      { name: "packets", type: u64, bitOffset: 0 },
      { name: "bytes", type: u64, bitOffset: 64 },
    ]);
    using btf = load(b.encode());
    using map = Fd.own(
      sys,
      mapCreate(sys, {
        map_type: bpf_map_type.BPF_MAP_TYPE_HASH,
        key_size: 4,
        value_size: 16,
        max_entries: 1,
        btf_fd: btf.fd,
        btf_key_type_id: key,
        btf_value_type_id: value,
      }),
      "map",
    );
    const info = mapInfo(map.number);
    expect(info.getUint32(bpf_map_info.btf_key_type_id, true)).toBe(key);
    expect(info.getUint32(bpf_map_info.btf_value_type_id, true)).toBe(value);
    const id = btfGetFdById(sys, info.getUint32(bpf_map_info.btf_id, true));
    using ofMap = Fd.own(sys, id ?? -1, "btf of the map");
    expect(decodeBtf(readBack(ofMap.number)).type(value)).toEqual(b.type(value));
  });

  test("a lock that the verifier must know of is found in the value", () => {
    const build = (bitOffset: number): { b: BtfBuilder; key: number; value: number } => {
      const { b, u32 } = basics();
      const lock = b.struct("bpf_spin_lock", 4, [{ name: "val", type: u32, bitOffset: 0 }]);
      const value = b.struct("locked", 12, [{ name: "lock", type: lock, bitOffset }]);
      return { b, key: u32, value };
    };
    const create = (bitOffset: number): number => {
      const { b, key, value } = build(bitOffset);
      using btf = load(b.encode());
      return mapCreate(sys, {
        map_type: bpf_map_type.BPF_MAP_TYPE_HASH,
        key_size: 4,
        value_size: 12,
        max_entries: 1,
        btf_fd: btf.fd,
        btf_key_type_id: key,
        btf_value_type_id: value,
      });
    };
    Fd.own(sys, create(32), "map").close();
    expect(() => create(16)).toThrow();
  });

  test("global data: a .rodata section with libbpf's bpf_metadata_ variables", () => {
    const { b, u32, char } = basics();
    const text = b.var("bpf_metadata_license", b.const(b.array(char, 4)));
    const number = b.var("bpf_metadata_version", b.const(u32));
    const rodata = b.datasec(".rodata", 8, [
      { type: text, offset: 0, size: 4 },
      { type: number, offset: 4, size: 4 },
    ]);
    using btf = load(b.encode());
    using map = Fd.own(
      sys,
      mapCreate(sys, {
        map_type: bpf_map_type.BPF_MAP_TYPE_ARRAY,
        key_size: 4,
        value_size: 8,
        max_entries: 1,
        map_flags: BPF_F_RDONLY_PROG,
        map_name: "tsbpf.rodata",
        btf_fd: btf.fd,
        btf_key_type_id: 0,
        btf_value_type_id: rodata,
      }),
      "map",
    );
    expect(mapInfo(map.number).getUint32(bpf_map_info.btf_value_type_id, true)).toBe(rodata);
    const section = getType(decoded(b), "datasec", ".rodata").type;
    expect(section.entries.map(({ offset }) => offset)).toEqual([0, 4]);
  });
});

describeKernel("func_info and line_info", () => {
  const build = (): { b: BtfBuilder; main: number; file: number; texts: number[] } => {
    const { b, int } = basics();
    const context = b.ptr(b.struct("__sk_buff", 0, []));
    const main = b.func("answer", b.funcProto(int, [{ name: "ctx", type: context }]), "global");
    const file = b.string("src/programs/answer.ts");
    return { b, main, file, texts: [b.string("mov(r0, 42),"), b.string("exit(),")] };
  };
  // r0 = 42; exit
  const insns = Uint8Array.from([0xb7, 0, 0, 0, 42, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0]);

  test("are taken with a program and come back with it", () => {
    const { b, main, file, texts } = build();
    const [first = 0, second = 0] = texts;
    const lines = [
      { insn_off: 0, file_name_off: file, line_off: first, line: 12, column: 3 },
      { insn_off: 1, file_name_off: file, line_off: second, line: 13, column: 1023 },
    ];
    const funcs = [{ insn_off: 0, type_id: main }];
    using btf = load(b.encode());
    const log = new Uint8Array(4096);
    const { result } = progLoad(sys, {
      prog_type: bpf_prog_type.BPF_PROG_TYPE_SOCKET_FILTER,
      insns,
      license: "GPL",
      prog_btf_fd: btf.fd,
      func_info: { bytes: encodeFuncInfo(funcs), rec_size: FUNC_INFO_SIZE },
      line_info: { bytes: encodeLineInfo(lines), rec_size: LINE_INFO_SIZE },
      log_level: 2,
      log_buf: log,
    });
    const text = new TextDecoder().decode(log.subarray(0, log.indexOf(0)));
    expect(result, text).toBeGreaterThanOrEqual(0);
    using prog = Fd.own(sys, result, "program");
    // The verifier quotes the source.
    expect(text).toContain("; mov(r0, 42), @ answer.ts:12");

    const [funcBytes, lineBytes] = [new Uint8Array(64), new Uint8Array(64)];
    const info = new Uint8Array(bpf_prog_info.size);
    const view = new DataView(info.buffer);
    view.setUint32(bpf_prog_info.nr_func_info, 1, true);
    view.setUint32(bpf_prog_info.func_info_rec_size, FUNC_INFO_SIZE, true);
    pointer(view, bpf_prog_info.func_info, funcBytes);
    view.setUint32(bpf_prog_info.nr_line_info, 2, true);
    view.setUint32(bpf_prog_info.line_info_rec_size, LINE_INFO_SIZE, true);
    pointer(view, bpf_prog_info.line_info, lineBytes);
    objGetInfoByFd(sys, prog.number, info, [funcBytes, lineBytes]);
    const records = (bytes: Uint8Array, count: number, size: number): Uint8Array =>
      bytes.subarray(0, view.getUint32(count, true) * view.getUint32(size, true));
    const { nr_func_info, func_info_rec_size, nr_line_info, line_info_rec_size } = bpf_prog_info;
    expect(decodeFuncInfo(records(funcBytes, nr_func_info, func_info_rec_size))).toEqual(funcs);
    expect(decodeLineInfo(records(lineBytes, nr_line_info, line_info_rec_size))).toEqual(lines);
  });
});
