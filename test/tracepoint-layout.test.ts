import { expect, test } from "vitest";
import { array, bits, bytes, char, dataLoc, s32, u16, u32, u64 } from "../src/btf/layout/index.ts";
import { layoutOfFormat, parseFormat } from "../src/kernel/tracepoint-layout.ts";

const FORMAT = `name: example
ID: 365
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:__data_loc char[] filename;\toffset:8;\tsize:4;\tsigned:0;
\tfield:__rel_loc char[] reason;\toffset:12;\tsize:4;\tsigned:0;
\tfield:char comm[16];\toffset:16;\tsize:16;\tsigned:0;
\tfield:const char * path;\toffset:32;\tsize:8;\tsigned:0;
\tfield:umode_t mode;\toffset:40;\tsize:8;\tsigned:0;
\tfield:pid_t pid;\toffset:48;\tsize:4;\tsigned:1;
\tfield:__u8 saddr[4];\toffset:52;\tsize:4;\tsigned:0;

print fmt: "filename=%s", __get_str(filename)
`;
const layout = <M extends Parameters<typeof layoutOfFormat>[2]>(members: M) =>
  layoutOfFormat("group:example", FORMAT, members);

test("the fields of a format", () => {
  expect(parseFormat(FORMAT).map(({ name, type, offset }) => `${name}: ${type} @${offset}`)).toEqual([
    "common_type: unsigned short @0",
    "common_pid: int @4",
    "filename: __data_loc char[] @8",
    "reason: __rel_loc char[] @12",
    "comm: char[16] @16",
    "path: const char * @32",
    "mode: umode_t @40",
    "pid: pid_t @48",
    "saddr: __u8[4] @52",
  ]);
});

test("those that are named, where they are", () => {
  const made = layout({
    pid: s32,
    filename: dataLoc,
    reason: dataLoc,
    mode: u16,
    path: u64,
    comm: array(char, 16),
    saddr: bytes(4),
    common_pid: s32,
  });
  expect({ ...made.offset, size: made.size, name: made.name }).toEqual({
    filename: 8,
    reason: 12,
    comm: 16,
    path: 32,
    mode: 40,
    pid: 48,
    saddr: 52,
    common_pid: 4,
    size: 56,
    name: "example",
  });
  expect(made.fields.filename.layout.from).toBe("record");
  expect(made.fields.reason.layout.from).toBe("field");
});

test.each([
  [{ pidd: s32 }, "example: it has no field 'pidd'\n  Did you mean 'pid'?"],
  [
    { other: s32 },
    "example: it has no field 'other'\n  It has filename, reason, comm, path, mode, pid, saddr.",
  ],
  [
    { filename: u32 },
    "example.filename: it is __data_loc char[], which says where the data is\n  Declare it as dataLoc.",
  ],
  [{ pid: u64 }, "example.pid: it is pid_t of 4 bytes, and is declared as __u64 of 8"],
  [{ pid: u16 }, "example.pid: it is pid_t of 4 bytes, and is declared as __u16 of 2"],
  [{ pid: dataLoc }, "example.pid: it is pid_t of 4 bytes, and is declared as __u32 of 4"],
  [{ comm: array(char, 17) }, "example.comm: it is char[16] of 16 bytes, and is declared as char[17] of 17"],
  [{ pid: bits(u32, 3) }, "example.pid: fields of tracepoints are no bit fields"],
])("%o", (members, message) => {
  expect(() => layout(members)).toThrow(message);
});
