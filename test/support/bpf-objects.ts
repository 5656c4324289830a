/**
 * The BPF objects that exist on this machine, read with the raw syscall: the harness must be able to tell that the
 * product leaked one without asking the product.
 */
import { closeSync } from "node:fs";
import koffi from "koffi";

/** A program, map or link with an id. */
export interface BpfObject {
  readonly kind: "prog" | "map" | "link";
  readonly id: number;
  /** `bpf_prog_info.type`, `bpf_map_info.type` or `bpf_link_info.type`. */
  readonly type: number;
  /** Empty for links. */
  readonly name: string;
}

/** Lists programs, maps and links of the whole machine. Needs CAP_SYS_ADMIN. */
export function listBpfObjects(): readonly BpfObject[] {
  return KINDS.flatMap((kind) => {
    const objects: BpfObject[] = [];
    const attr = Buffer.alloc(12);
    for (let id = 0; ; ) {
      attr.fill(0).writeUInt32LE(id, 0);
      if (bpf(kind.next, attr) < 0) break;
      id = attr.readUInt32LE(4);
      const object = describe(kind, id);
      if (object !== undefined) objects.push(object);
    }
    return objects;
  });
}

// include/uapi/linux/bpf.h: enum bpf_cmd, struct bpf_prog_info, bpf_map_info, bpf_link_info.
const KINDS = [
  { kind: "prog", next: 11, open: 13, nameOffset: 64 },
  { kind: "map", next: 12, open: 14, nameOffset: 24 },
  { kind: "link", next: 31, open: 30, nameOffset: undefined },
] as const;
const BPF_OBJ_GET_INFO_BY_FD = 15;
const SYS_BPF = process.arch === "x64" ? 321 : 280;

const syscall = koffi
  .load("libc.so.6")
  .func("long syscall(long number, int cmd, void *attr, unsigned int size)");

function bpf(cmd: number, attr: Buffer): number {
  return Number(syscall(SYS_BPF, cmd, attr, attr.length));
}

function describe(kind: (typeof KINDS)[number], id: number): BpfObject | undefined {
  const open = Buffer.alloc(12);
  open.writeUInt32LE(id, 0);
  const fd = bpf(kind.open, open);
  // Freed between the two calls.
  if (fd < 0) return undefined;
  try {
    const info = Buffer.alloc(80);
    const attr = Buffer.alloc(16);
    attr.writeUInt32LE(fd, 0);
    attr.writeUInt32LE(info.length, 4);
    attr.writeBigUInt64LE(koffi.address(info), 8);
    if (bpf(BPF_OBJ_GET_INFO_BY_FD, attr) < 0) return undefined;
    const name =
      kind.nameOffset === undefined ? "" : info.toString("latin1", kind.nameOffset, kind.nameOffset + 16);
    return { kind: kind.kind, id, type: info.readUInt32LE(0), name: name.replace(/\0.*$/s, "") };
  } finally {
    closeSync(fd);
  }
}
