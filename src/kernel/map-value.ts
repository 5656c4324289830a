import type { MapDef, MapTypeName } from "../asm/map-def.ts";
import { TsbpfError } from "../base/error.ts";
import type { Layout } from "../btf/layout/index.ts";

/** What a map gives for a key: one value, or one for each possible CPU where the map is per CPU. */
export type MapValue<Type extends MapTypeName, Value> = Type extends PerCpuMapType ? readonly Value[] : Value;

/** The map types that keep one value for each possible CPU. */
export type PerCpuMapType = Extract<MapTypeName, `${string}percpu_${string}`>;

/** Whether a map keeps one value for each possible CPU. */
export function isPerCpu(type: MapTypeName): boolean {
  return type.includes("percpu_");
}

/** How the kernel copies the value of one key: as it is, or 8-byte aligned for one possible CPU after the other. */
export interface ValueCodec<Type extends MapTypeName, Value> {
  /** Bytes that are copied for a key. */
  readonly bytes: number;
  write(view: DataView, offset: number, value: MapValue<Type, Value>): void;
  read(view: DataView, offset: number): MapValue<Type, Value>;
}

/** @param cpus - How many CPUs are possible; not used where the map is not per CPU. */
export function valueCodec<Type extends MapTypeName, Value>(
  def: MapDef<Type, unknown, Value>,
  layout: Layout<Value>,
  cpus: number,
): ValueCodec<Type, Value> {
  if (!isPerCpu(def.type)) {
    return {
      bytes: layout.size,
      write: (view, offset, value) => layout.write(view, offset, value as Value),
      read: (view, offset) => layout.read(view, offset) as MapValue<Type, Value>,
    };
  }
  const stride = Math.ceil(layout.size / 8) * 8;
  return {
    bytes: stride * cpus,
    write(view, offset, value) {
      const values = value as readonly Value[];
      checkPerCpu(def, values, cpus);
      for (let cpu = 0; cpu < cpus; cpu++) layout.write(view, offset + cpu * stride, values[cpu] as Value);
    },
    read(view, offset) {
      const values = Array.from({ length: cpus }, (_, cpu) => layout.read(view, offset + cpu * stride));
      return values as unknown as MapValue<Type, Value>;
    },
  };
}

function checkPerCpu(def: MapDef, values: unknown, cpus: number): void {
  if (Array.isArray(values) && values.length === cpus) return;
  const given = Array.isArray(values) ? `${values.length} values were` : "a single value was";
  throw new TsbpfError(`map '${def.name}' is per CPU: ${given} given`, {
    hint: `This machine has ${cpus} possible CPUs: give an array with one value for each.`,
  });
}
