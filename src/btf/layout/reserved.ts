import type { BtfBuilder } from "../builder.ts";
import type { BtfTypeId } from "../type.ts";
import { LayoutError, show } from "./error.ts";
import type { Layout } from "./layout.ts";

/**
 * Bytes of a struct that are no part of its value: user space neither reads nor sets them. They are written as zero;
 * what the kernel keeps in its own ones (locks, timers, kernel pointers) a map update leaves alone.
 */
export interface ReservedLayout extends Layout<undefined, "reserved"> {}

/** What programs hand to helpers by its address, to be used by the kernel alone: a lock, a timer, an entry of a work queue. */
export interface OpaqueLayout extends ReservedLayout {
  /** Name of the kernel's struct. */
  readonly opaque: string;
}

/** A `struct bpf_spin_lock`, for `bpf_spin_lock()`: at most one in a map value. Linux 5.1. */
export const spinLock: OpaqueLayout = byAddress("bpf_spin_lock", "val", 4, 1);
/** A `struct bpf_timer`: at most one in a map value. Linux 5.15. */
export const timer: OpaqueLayout = byAddress("bpf_timer", "__opaque", 8, 2);
/** A `struct bpf_wq`, a work queue entry: at most one in a map value. Linux 6.10. */
export const workQueue: OpaqueLayout = byAddress("bpf_wq", "__opaque", 8, 2);
/** A `struct bpf_refcount`, of objects that several collections share. Linux 6.4. */
export const refcount: ReservedLayout = opaque("bpf_refcount", "__opaque", 4, 1, true);

/**
 * A pointer to a kernel object that a map value owns (`struct task_struct __kptr *task`), exchanged by
 * `bpf_kptr_xchg()`. Linux 5.19; with the tag `percpu_kptr` 6.7.
 *
 * @param type Name of the kernel struct, or of a struct of the program's own.
 * @throws LayoutError if that is no name of a struct.
 */
export function kptr(type: string, tag: "kptr" | "kptr_untrusted" | "percpu_kptr" = "kptr"): ReservedLayout {
  if (!/^[A-Za-z_]\w*$/.test(type))
    throw new LayoutError("kptr", `${show(type)} is not the name of a struct`);
  return reserved(8, 8, `struct ${type} *`, (builder) =>
    builder.ptr(builder.typeTag(tag, builder.struct(type, 0, []))),
  );
}

/**
 * So many bytes of explicit padding, as C's `__u8 pad[length]`.
 *
 * @throws LayoutError if the length is no positive integer.
 */
export function padding(length: number): ReservedLayout {
  if (!Number.isInteger(length) || length < 1) {
    throw new LayoutError("padding", `length ${show(length)} is not a positive integer`);
  }
  return reserved(length, 1, `__u8[${length}]`, (builder) =>
    builder.array(builder.typedef("__u8", builder.int("unsigned char", 1)), length),
  );
}

function byAddress(name: string, member: string, wordSize: 4 | 8, words: number): OpaqueLayout {
  return Object.freeze({ ...opaque(name, member, wordSize, words), opaque: name });
}

/** A struct of the kernel whose one member is that of the UAPI header. */
function opaque(
  name: string,
  member: string,
  wordSize: 4 | 8,
  words: number,
  asArray = words > 1,
): ReservedLayout {
  return reserved(wordSize * words, wordSize, `struct ${name}`, (builder) => {
    const word =
      wordSize === 4
        ? builder.typedef("__u32", builder.int("unsigned int", 4))
        : builder.typedef("__u64", builder.int("unsigned long long", 8));
    const type = asArray ? builder.array(word, words) : word;
    return builder.struct(name, wordSize * words, [{ name: member, type, bitOffset: 0 }]);
  });
}

function reserved(
  size: number,
  align: number,
  cName: string,
  btf: (builder: BtfBuilder) => BtfTypeId,
): ReservedLayout {
  return Object.freeze({
    kind: "reserved",
    size,
    align,
    cName,
    read: (): undefined => undefined,
    write: (view: DataView, offset: number): void => {
      for (let at = offset; at < offset + size; at++) view.setUint8(at, 0);
    },
    btf,
  } as const);
}
