import { TsbpfError } from "../../base/error.ts";
import { LITTLE_ENDIAN } from "../../base/host.ts";
import { suggest } from "../../base/suggest.ts";
import { createBtfBuilder } from "../../btf/builder.ts";
import type { Btf } from "../../btf/decode.ts";
import { findType, resolve, sizeOf } from "../../btf/lookup.ts";
import type { BtfMember, BtfStruct } from "../../btf/type.ts";
import { linkCreate, linkUpdate } from "../../syscall/bpf-link.ts";
import { mapCreate, mapDeleteElem, mapUpdateElem } from "../../syscall/bpf-map.ts";
import { SyscallError } from "../../syscall/errno.ts";
import { Fd } from "../../syscall/fd.ts";
import { linuxSyscalls } from "../../syscall/ffi.ts";
import type { Syscalls } from "../../syscall/syscalls.ts";
import { BPF_F_LINK, BPF_MAP_TYPE_STRUCT_OPS, BPF_STRUCT_OPS } from "../../uapi/bpf.ts";
import { loadBtf } from "../btf-load.ts";
import type { KernelOptions } from "../map.ts";
import { readMapInfo } from "../object-info.ts";
import type { BpfProgram } from "../program.ts";
import { UnsupportedError } from "../unsupported.ts";
import { vmlinuxBtf } from "../vmlinux.ts";
import { BpfLink } from "./bpf-link.ts";
import { attempt } from "./explain.ts";
import type { Link } from "./link.ts";
import { unlinked } from "./unlinked.ts";

/**
 * The members of a struct of operations: programs of type `struct_ops` for its functions, each loaded for its member
 * (`attachTo: "tcp_congestion_ops.ssthresh"`), numbers and texts for its data. What is left out is zero.
 */
export type StructOps = Readonly<Record<string, BpfProgram | number | bigint | string>>;

/** A struct of operations in use. */
export interface StructOpsLink extends Link {
  /**
   * Puts other operations in place of the present ones, in one step, where the kernel's subsystem can do that (kernel 6.4).
   *
   * @throws SyscallError: EOPNOTSUPP where it cannot.
   */
  replace(operations: StructOps): void;
}

/**
 * Gives the kernel an implementation of one of its own interfaces, made of programs (kernel 5.6): a TCP congestion control
 * (`tcp_congestion_ops`), a queueing discipline (`Qdisc_ops`, 6.16), a scheduler (`sched_ext_ops`, 6.12).
 *
 * It is there for as long as the link is (kernel 6.4); before, until the link is closed.
 *
 * @param struct - the struct's name in the kernel.
 * @throws TsbpfError: EINVAL where the kernel misses a function that must be there, EEXIST where the name is taken.
 * @example
 * ```ts
 * using link = attachStructOps("tcp_congestion_ops", { name: "mine", ssthresh, cong_avoid, undo_cwnd });
 * ```
 */
export function attachStructOps(
  struct: string,
  operations: StructOps,
  options: KernelOptions = {},
): StructOpsLink {
  const { sys = linuxSyscalls() } = options;
  return attempt(
    {
      what: `attach ${struct}`,
      feature: { feature: "structs of operations", since: "5.6" },
      hints: {
        EINVAL: `A function that every ${struct} has is missing, or a program was loaded for another member.`,
        EEXIST: "There is one of this name already.",
        ENOTSUPP: `This kernel lets programs implement no ${struct}.`,
      },
    },
    () => {
      const map = tryWithLink(sys, struct, operations);
      if (map === undefined) return attachWithoutLink(sys, struct, operations);
      using fd = map; // the link holds the map
      const number = linkCreate(sys, { prog_fd: fd.number, attach_type: BPF_STRUCT_OPS });
      const link = BpfLink.own(sys, number, `${struct} link`);
      return Object.assign(link, {
        replace(next: StructOps) {
          using nextMap = createStructOps(sys, struct, next, BPF_F_LINK);
          linkUpdate(sys, { link_fd: link.fd, new_prog_fd: nextMap.number });
        },
      });
    },
  );
}

/** A kernel before 6.4 does not know the flag of maps that a link puts to use. */
function tryWithLink(sys: Syscalls, struct: string, operations: StructOps): Fd | undefined {
  try {
    return createStructOps(sys, struct, operations, BPF_F_LINK);
  } catch (error) {
    const old = error instanceof SyscallError && error.code === "EINVAL" && error.call.includes("MAP_CREATE");
    if (old) return undefined;
    throw error;
  }
}

/** There, filling in the value puts it to use, and deleting it ends that. */
function attachWithoutLink(sys: Syscalls, struct: string, operations: StructOps): StructOpsLink {
  const map = createStructOps(sys, struct, operations, 0);
  const mapId = readMapInfo(sys, map.number).id;
  const link = unlinked({
    kind: "struct_ops",
    what: `the ${struct}`,
    linkSince: "6.4",
    detach() {
      mapDeleteElem(sys, map.number, new Uint8Array(4));
      map.close();
    },
    info: () => ({ kind: "struct_ops", id: undefined, progId: undefined, mapId }),
  });
  return Object.assign(link, {
    replace(): never {
      throw new UnsupportedError(`cannot replace the ${struct}: there is no bpf_link behind it`, {
        feature: `replacing ${struct}`,
        since: "6.4",
      });
    },
  });
}

function createStructOps(sys: Syscalls, struct: string, operations: StructOps, flags: number): Fd {
  const kernel = vmlinuxBtf();
  const { id, value } = encodeStructOps(kernel, struct, operations);
  using btf = someBtf(sys, struct);
  const attr = {
    map_type: BPF_MAP_TYPE_STRUCT_OPS,
    map_name: struct.slice(0, 15),
    key_size: 4,
    value_size: value.length,
    max_entries: 1,
    map_flags: flags,
    btf_vmlinux_value_type_id: id,
    btf_fd: btf.number,
  };
  const map = Fd.own(sys, mapCreate(sys, attr), struct);
  try {
    mapUpdateElem(sys, map.number, new Uint8Array(4), value);
    return map;
  } catch (error) {
    map.close();
    throw error;
  }
}

/** The kernel wants BTF of ours with the map, whatever is in it. */
function someBtf(sys: Syscalls, struct: string): Fd {
  const builder = createBtfBuilder({ byteOrder: LITTLE_ENDIAN ? "little" : "big" });
  builder.int("int", 4, "signed");
  const loaded = loadBtf(sys, builder.encode(), struct);
  if (loaded instanceof Fd) return loaded;
  throw loaded;
}

/**
 * Encodes the value of a struct_ops map: the kernel's struct inside its own `struct bpf_struct_ops_*`, with descriptors of
 * programs for function pointers.
 *
 * @throws TsbpfError where the kernel has no such struct, or it no such member.
 */
export function encodeStructOps(
  btf: Btf,
  struct: string,
  operations: StructOps,
): { readonly id: number; readonly value: Uint8Array } {
  const outer = findType(btf, "struct", `bpf_struct_ops_${struct}`);
  const inner = findType(btf, "struct", struct);
  const data = outer?.type.members.find(({ name }) => name === "data");
  if (outer === undefined || inner === undefined || data === undefined) {
    const known = structOpsNames(btf);
    throw new TsbpfError(`programs cannot implement struct ${struct} on this kernel`, {
      hint: suggest(struct, known) ?? `They can implement ${known.join(", ")}.`,
    });
  }
  const value = new Uint8Array(outer.type.size);
  for (const [name, operation] of Object.entries(operations)) {
    const member = memberOf(inner.type, struct, name);
    const offset = (data.bitOffset + member.bitOffset) / 8;
    const room = value.subarray(offset, offset + sizeOf(btf, member.type));
    encodeMember(btf, `${struct}.${name}`, member, operation, room);
  }
  return { id: outer.id, value };
}

function encodeMember(
  btf: Btf,
  what: string,
  { type }: BtfMember,
  operation: StructOps[string],
  room: Uint8Array,
): void {
  const { kind } = btf.type(resolve(btf, type));
  if (typeof operation === "string") {
    const text = new TextEncoder().encode(operation);
    if (kind !== "array" || text.length >= room.length) {
      throw new TsbpfError(`${what} does not take the text '${operation}'`, {
        hint: kind === "array" ? `It takes ${room.length - 1} bytes.` : `It is a ${kind}.`,
      });
    }
    room.set(text);
    return;
  }
  const isNumber = typeof operation !== "object";
  if (isNumber !== (kind === "int" || kind === "enum") || room.length > 8) {
    throw new TsbpfError(`${what} does not take ${isNumber ? "a number" : `program '${operation.name}'`}`, {
      hint: `It is a ${kind === "ptr" ? "function" : kind}.`,
    });
  }
  // Descriptors are put where the kernel has pointers; the rest of those stays zero.
  const bits = BigInt.asUintN(room.length * 8, BigInt(isNumber ? operation : operation.fd));
  for (let byte = 0; byte < room.length; byte++) {
    const at = LITTLE_ENDIAN ? byte : room.length - 1 - byte;
    room[at] = Number((bits >> BigInt(byte * 8)) & 0xffn);
  }
}

function memberOf({ members }: BtfStruct, struct: string, name: string): BtfMember {
  const member = members.find((candidate) => candidate.name === name);
  if (member !== undefined) return member;
  const names = members.map((candidate) => candidate.name);
  throw new TsbpfError(`struct ${struct} has no member '${name}'`, {
    hint: suggest(name, names) ?? `It has ${names.join(", ")}.`,
  });
}

function structOpsNames(btf: Btf): string[] {
  const names: string[] = [];
  for (let id = btf.firstId; id < btf.typeCount; id++) {
    if (btf.kind(id) !== "struct") continue;
    const [, name] = /^bpf_struct_ops_(.+)$/.exec(btf.name(id)) ?? [];
    if (name !== undefined && btf.ids(name, "struct").length > 0) names.push(name);
  }
  return names;
}
