import {
  bpf_probe_read_kernel,
  bpf_probe_read_kernel_str,
  bpf_probe_read_user,
  bpf_probe_read_user_str,
} from "../uapi/helpers.ts";
import type { IrCall, IrSlot, IrValue, MemoryClass, PointerKind } from "./ir/ir.ts";
import {
  addToPointer,
  checkRegion,
  constant,
  emit,
  frame,
  here,
  load,
  newSlot,
  type Recorder,
} from "./recorder.ts";
import type { AddressSpace, Region } from "./region.ts";

const COPY = { kernel: bpf_probe_read_kernel, user: bpf_probe_read_user } as const;
const COPY_TEXT = { kernel: bpf_probe_read_kernel_str, user: bpf_probe_read_user_str } as const;

/** Reads a number from a region: by a load, or by a helper where the program cannot load; then 0 stands for what is not there. */
export function readMemory(
  recorder: Recorder,
  region: Region,
  offset: number,
  size: 1 | 2 | 4 | 8,
  pointer?: PointerKind,
): IrValue {
  if (region.probe === undefined) {
    return load(recorder, region, offset, size, pointer === undefined ? {} : { pointer });
  }
  checkRegion(recorder, region);
  const to = frame(probeSlot(recorder));
  const from = addToPointer(recorder, region.base, constant(offset));
  copyFrom(recorder, { to, memory: "stack", from, size, space: region.probe, text: false });
  return emit(recorder, {
    kind: "load",
    size,
    signed: false,
    base: to,
    offset: 0,
    memory: "stack",
    volatile: false,
    pointer,
    source: here(),
  });
}

/** What a helper is to copy. */
export interface Copy {
  readonly to: IrValue;
  /** The class of the memory there. */
  readonly memory: MemoryClass;
  readonly from: IrValue;
  /** Bytes; of a text, the most. */
  readonly size: number;
  readonly space: AddressSpace;
  /** Up to the first NUL, and that one. */
  readonly text: boolean;
}

/** Records a call of a helper that copies from an address. It gives what the helper gives. */
export function copyFrom(recorder: Recorder, { to, memory, from, size, space, text }: Copy): IrCall {
  return emit(recorder, {
    kind: "call",
    callee: { kind: "helper", helper: (text ? COPY_TEXT : COPY)[space] },
    args: [to, constant(size), from],
    reads: [],
    writes: [memory],
    removable: false,
    pure: false,
    pointer: undefined,
    source: here(),
  });
}

/** The body of a loop that becomes a function has a frame of its own. */
function probeSlot(recorder: Recorder): IrSlot {
  let { loop } = recorder;
  while (loop !== undefined && !loop.outlined) loop = loop.outer;
  const known = recorder.probeSlots.get(loop);
  if (known !== undefined) return known;
  const slot = newSlot(recorder, "what was read", 8, 8, false);
  recorder.probeSlots.set(loop, slot);
  return slot;
}
