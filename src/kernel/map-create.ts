import type { DataSection, MapDef, MapTypeName } from "../asm/map-def.ts";
import { LITTLE_ENDIAN } from "../base/host.ts";
import { type BtfBuilder, createBtfBuilder } from "../btf/builder.ts";
import type { Layout, StructLayout } from "../btf/layout/index.ts";
import { memberLayout } from "../btf/layout/member.ts";
import { type MapCreateAttr, mapCreate } from "../syscall/bpf-map.ts";
import { SyscallError } from "../syscall/errno.ts";
import { Fd } from "../syscall/fd.ts";
import type { Syscalls } from "../syscall/syscalls.ts";
import { loadBtf } from "./btf-load.ts";
import { LOCAL_STORAGE, mapTypeNumber } from "./map-type.ts";

/**
 * Creates the map that a definition describes, with the BTF of its key and value, so that `bpftool map dump` prints the
 * names of their fields.
 *
 * Not every type takes BTF (a stack trace map does not: ENOTSUPP), nor does every type take every key (an array wants a plain
 * integer, an LPM trie a struct: EINVAL). Such a map is created without; unless its values hold something that the kernel
 * finds through BTF alone, such as a lock or a timer, or it is local storage, which the kernel does not make without.
 *
 * @param innerFd - of a map of maps: a map that those in it must look like.
 * @throws SyscallError as {@link mapCreate}.
 */
export function createMap(sys: Syscalls, def: MapDef, innerFd?: number): number {
  const attr: MapCreateAttr = {
    map_type: mapTypeNumber(def.type),
    key_size: def.key?.size ?? 0,
    value_size: def.value?.size ?? 0,
    max_entries: def.maxEntries,
    map_flags: def.flags,
    map_name: def.name,
    inner_map_fd: innerFd,
    map_extra: def.extra,
  };
  const describes = def.key !== undefined || def.value !== undefined;
  if (!describes || WITHOUT_BTF.includes(def.type)) return mapCreate(sys, attr);
  const builder = createBtfBuilder({ byteOrder: LITTLE_ENDIAN ? "little" : "big" });
  const types =
    def.section === undefined
      ? { btf_key_type_id: def.key?.btf(builder), btf_value_type_id: def.value?.btf(builder) }
      : { btf_value_type_id: sectionBtf(builder, def.section, def.value) }; // of a section the key is 0, "void"
  const needed = holdsKernelObjects(builder) || LOCAL_STORAGE.includes(def.type);
  const btf = loadBtf(sys, builder.encode(), `map '${def.name}'`);
  if (!(btf instanceof Fd)) {
    if (needed) throw btf;
    return mapCreate(sys, attr);
  }
  using fd = btf;
  try {
    return mapCreate(sys, { ...attr, ...types, btf_fd: fd.number });
  } catch (error) {
    const refused = error instanceof SyscallError && (error.code === "ENOTSUPP" || error.code === "EINVAL");
    if (needed || !refused) throw error;
    return mapCreate(sys, attr);
  }
}

/** Variables as compilers describe them: `bpftool map dump` prints them by name. */
function sectionBtf(builder: BtfBuilder, section: DataSection, value: Layout | undefined): number {
  const { placement } = value as StructLayout; // dataDef() takes no other
  const entries = placement.placed.map(({ name, member, bitOffset, bitSize }) => ({
    type: builder.var(name, memberLayout(member).btf(builder)),
    offset: bitOffset / 8,
    size: bitSize / 8,
  }));
  return builder.datasec(section, placement.size, entries);
}

/**
 * Types that are not worth asking: no kernel takes BTF for them, and the kernel makes the map before it says so and waits
 * for an RCU grace period to free it, some 20 ms.
 */
const WITHOUT_BTF: readonly MapTypeName[] = [
  "cpumap",
  "devmap",
  "devmap_hash",
  "xskmap",
  "sockmap",
  "sockhash",
  "queue",
  "stack",
];

/** Structs that the kernel recognises in a value by name (btf_get_field_type() in kernel/bpf/btf.c). */
const KERNEL_STRUCT =
  /^bpf_(spin_lock|res_spin_lock|timer|wq|refcount|list_head|list_node|rb_root|rb_node|task_work)$/;

function holdsKernelObjects(builder: BtfBuilder): boolean {
  for (let id = 1; id < builder.typeCount; id++) {
    const type = builder.type(id);
    if (type.kind === "typeTag") return true; // a kptr
    if (type.kind === "struct" && KERNEL_STRUCT.test(type.name)) return true;
  }
  return false;
}
