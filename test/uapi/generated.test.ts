import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it, type TestContext } from "vitest";
import { generate, generatedPath, readFacts } from "../../scripts/generate-uapi.ts";
import { type BtfLayouts, readBtf } from "../../scripts/uapi/btf-layout.ts";
import { extract, findHeaders } from "../../scripts/uapi/extract.ts";
import type { FieldFacts } from "../../scripts/uapi/facts.ts";

const { facts, probed } = readFacts();

describe("src/uapi is what the scripts generate", () => {
  const files = generate(facts, probed);

  it.each([...files.keys()])("%s", (name) => {
    expect(readFileSync(generatedPath(name), "utf8")).toBe(files.get(name));
  });

  it("holds nothing else but helper.ts", () => {
    const folder = fileURLToPath(new URL("../../src/uapi", import.meta.url));
    const sources = readdirSync(folder).filter((name) => name.endsWith(".ts"));
    expect(sources.sort()).toEqual([...files.keys(), "helper.ts"].sort());
  });

  it("has facts that agree with the headers they came from", (context) => {
    const headers = findHeaders().find(({ version }) => version === facts.version);
    if (headers === undefined) {
      return skip(context, `linux-libc-dev ${facts.version} is not here: sh scripts/uapi/fetch-headers.sh`);
    }
    const gcc = spawnSync("gcc", ["-dumpversion"], { encoding: "utf8" });
    if (gcc.status !== 0 || Number.parseInt(gcc.stdout, 10) < 12)
      return skip(context, "gcc 12 or newer is not here");
    expect(extract(headers)).toEqual(facts);
  });
});

const vmlinux = "/sys/kernel/btf/vmlinux";

describe.skipIf(!existsSync(vmlinux))("the facts agree with the running kernel's BTF", () => {
  const btf: BtfLayouts | undefined = existsSync(vmlinux) ? readBtf(readFileSync(vmlinux)) : undefined;

  it("in every enumerator that both have", () => {
    const known = btf?.enumerators() ?? new Map<string, bigint>();
    const groups = Object.values(facts.constants).flatMap((headers) =>
      headers.flatMap(({ groups }) => groups),
    );
    const ours = groups.flatMap((group) => (group.enum === undefined ? [] : Object.entries(group.values)));
    const common = ours.filter(([name]) => known.has(name) && !isCount(name));
    const wrong = common.filter(([name, value]) => low32(BigInt(value)) !== low32(known.get(name) ?? 0n));
    expect(wrong).toEqual([]);
    expect(common.length).toBeGreaterThan(1000);
  });

  it("in the offset, size and bits of every struct field that both have", () => {
    const all = [...facts.structs, { name: "bpf_attr", fields: facts.attr.commands.flatMap(attrFields) }];
    let compared = 0;
    const wrong: string[] = [];
    for (const struct of all) {
      const theirs = flatten(btf?.layout(struct.name)?.fields ?? []);
      for (const [path, field] of flatten(struct.fields)) {
        const same = theirs.get(path);
        if (same === undefined || field.name.startsWith("__reserved")) continue;
        compared++;
        if (place(field) !== place(same))
          wrong.push(`${struct.name}.${path}: ${place(field)}, ${place(same)}`);
      }
    }
    expect(wrong).toEqual([]);
    expect(compared).toBeGreaterThan(500);
  });
});

/** The default reporter keeps a skipped test's reason to itself. */
function skip(context: TestContext, reason: string): void {
  console.log(`skipped: ${reason}`);
  context.skip(reason);
}

/** Enumerators that count the others grow with every kernel. */
const isCount = (name: string): boolean => /^__|MAX|_LAST$|_MASK$|_ALL_/.test(name);

/** An enumerator of a plain BTF enum has 32 bits, whose sign depends on the compiler. */
const low32 = (value: bigint): bigint => BigInt.asUintN(32, value);

/** The named members of bpf_attr are nested in the kernel's union, the anonymous ones are not. */
function attrFields(command: { name: string; fields: readonly FieldFacts[] }): readonly FieldFacts[] {
  const anonymous = ["map_create", "map_elem", "prog_load", "obj", "prog_attach", "get_id", "btf_load"];
  if (anonymous.includes(command.name)) return command.fields;
  return [{ name: command.name, offset: 0, size: 0, type: "struct", fields: command.fields }];
}

function flatten(fields: readonly FieldFacts[], prefix = ""): Map<string, FieldFacts> {
  const flat = new Map<string, FieldFacts>();
  for (const field of fields) {
    const path = prefix + field.name;
    if (field.fields === undefined) flat.set(path, field);
    else for (const [inner, value] of flatten(field.fields, `${path}.`)) flat.set(inner, value);
  }
  return flat;
}

const place = ({ offset, size, bitOffset, bitSize }: FieldFacts): string =>
  bitSize === undefined ? `${offset}+${size}` : `bits ${bitOffset}+${bitSize}`;
