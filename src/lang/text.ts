import type { Misuse } from "../asm/misuse.ts";
import { LangError } from "./error.ts";
import type { IrValue } from "./ir/ir.ts";
import { copyFrom } from "./memory.ts";
import { checkOptions, type ViewOptions } from "./pointer.ts";
import { checkRegion, checkWritable, here, memoryOf, type Recorder } from "./recorder.ts";
import { type AddressSpace, isForeign } from "./region.ts";
import { describe, isScalar, makeVal, operandValue } from "./scalar.ts";
import { type HostVal, internals, type where } from "./value.ts";
import { addressOf, isView, pointerTo } from "./view.ts";

/** A compile-time error, with a sentence, for memory that helpers do not write texts to. */
export type CanHoldText<To> = To extends { readonly [where]: "stack" | "record" | "map_value" }
  ? unknown
  : Misuse<"a text is copied into a $.struct, a record or a map's value">;

/** Records that a text is copied from the kernel's memory or a process's. */
export function recordCopyText(
  recorder: Recorder,
  to: unknown,
  from: unknown,
  options: ViewOptions = {},
): HostVal<"s64"> {
  const target = addressOf(to);
  if (!["stack", "record", "map_value"].includes(target.region.memory)) {
    throw new LangError(
      `$.copyText writes to the stack, to records and to maps' values, and this is ${describe(to)} in ${target.region.name}`,
      here(),
      "Copy it into a $.struct first.",
    );
  }
  checkWritable(recorder, target.region);
  const [address, space] = sourceOf(recorder, from, options);
  const call = copyFrom(recorder, {
    to: pointerTo(recorder, target.region, target.offset),
    memory: memoryOf(target.region),
    from: address,
    size: target.size,
    space,
    text: true,
  });
  return makeVal(recorder, "s64", call) as HostVal<"s64">;
}

function sourceOf(
  recorder: Recorder,
  from: unknown,
  { from: given, ...others }: ViewOptions,
): [address: IrValue, space: AddressSpace] {
  checkOptions("$.copyText", others);
  if (isView(from)) {
    const { region, offset } = from[internals];
    if (isForeign(region)) {
      checkRegion(recorder, region);
      return [pointerTo(recorder, region, offset), region.probe ?? "kernel"];
    }
    throw new LangError(
      `$.copyText copies from the kernel's memory or a process's, and this is ${describe(from)} in ${region.name}`,
      here(),
      "What is in the program's own memory is copied with $.copy.",
    );
  }
  if (!isScalar(from)) {
    throw new LangError(`${describe(from)} stands where $.copyText takes a text or its address`, here());
  }
  return [operandValue(recorder, "u64", from), given ?? "kernel"];
}
