/**
 * Stage 1 of `src/uapi`: reads the headers of a linux-libc-dev package and writes what they say, as names, numbers and
 * prototypes, to `facts.json`. Needs gcc 12 or newer and binutils.
 *
 *     sh scripts/uapi/fetch-headers.sh && npx tsx scripts/uapi/extract.ts
 */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type BtfLayouts, readBtf } from "./btf-layout.ts";
import { type Scanned, scanPreprocessed } from "./c-scan.ts";
import { kernelOnlyErrnos, newErrnoTexts } from "./errno-texts.ts";
import type {
  ConstantGroup,
  ErrnoFacts,
  Facts,
  FieldFacts,
  HeaderFacts,
  HelperFacts,
  Value,
} from "./facts.ts";
import { format } from "./format.ts";
import {
  anonymousAttrs,
  type ConstantUnit,
  constantUnits,
  structUnits,
  syscallArches,
  syscallNames,
} from "./units.ts";

/** Where `facts.json` is. */
export const factsPath: string = fileURLToPath(new URL("facts.json", import.meta.url));

const { TSBPF_UAPI_HEADERS } = process.env;

/** The directory `fetch-headers.sh` unpacks into. */
export const defaultHeaders: string = TSBPF_UAPI_HEADERS ?? join(tmpdir(), "tsbpf-uapi-headers");

/** Headers on this machine. */
export interface Headers {
  /** The directory that has `usr/include`. */
  readonly root: string;
  /** Version of the linux-libc-dev package they came in. */
  readonly version: string;
}

/** The headers that `fetch-headers.sh` brought, and those that are installed. */
export function findHeaders(): Headers[] {
  const fetched = join(defaultHeaders, "VERSION");
  const installed = spawnSync("dpkg-query", ["--show", "linux-libc-dev"], { encoding: "utf8" });
  const version = installed.stdout?.trim().split("\t")[1];
  return [
    ...(existsSync(fetched) ? [{ root: defaultHeaders, version: readFileSync(fetched, "utf8").trim() }] : []),
    ...(version === undefined ? [] : [{ root: "/", version }]),
  ];
}

/** Reads everything `facts.json` holds from unpacked headers. */
export function extract({ root, version }: Headers): Facts {
  const work = mkdtempSync(join(tmpdir(), "tsbpf-uapi-"));
  try {
    const gcc = new Gcc(root, work);
    const layouts = structUnits.map((unit) => {
      const btf = gcc.btf(includes(unit.headers));
      return unit.names.map((name) => required(btf.layout(name), `struct ${name}`));
    });
    return {
      version,
      constants: Object.fromEntries(constantUnits.map((unit) => [unit.file, extractConstants(gcc, unit)])),
      structs: layouts.flat(),
      attr: extractAttr(gcc.btf(includes(["linux/bpf.h"]))),
      helpers: extractHelpers(gcc, join(root, "usr/include/linux/bpf.h")),
      errno: extractErrnos(gcc),
      syscalls: Object.fromEntries(
        Object.entries(syscallArches).map(([arch, directory]) => [arch, extractSyscalls(gcc, directory)]),
      ),
    };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

const hostArch = "x86_64-linux-gnu";
const includes = (headers: readonly string[]): string =>
  headers.map((header) => `#include <${header}>\n`).join("");

function required<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new Error(`the headers have no ${what}`);
  return value;
}

/** The compiler, looking at the kernel's headers alone unless told otherwise. */
class Gcc {
  readonly #include: string;
  readonly #work: string;

  constructor(root: string, work: string) {
    this.#include = join(root, "usr/include");
    this.#work = work;
    // linux/if.h wants the C library's sockaddr; two lines of it do, and keep the C library's other headers out.
    mkdirSync(join(work, "sys"));
    const sockaddr = "struct sockaddr { unsigned short sa_family; char sa_data[14]; };\n";
    writeFileSync(join(work, "sys/socket.h"), sockaddr);
  }

  #kernelOnly(arch: string): string[] {
    return [
      "-nostdinc",
      "-isystem",
      join(this.#include, arch),
      "-isystem",
      this.#include,
      "-isystem",
      this.#work,
    ];
  }

  /** Preprocessed text with `#define` lines; file names below the include directory. */
  preprocess(source: string, arch = hostArch): string {
    const text = execFileSync("gcc", ["-E", "-dD", ...this.#kernelOnly(arch), "-xc", "-"], {
      input: source,
      encoding: "utf8",
      maxBuffer: 1 << 28,
    });
    return text.replaceAll(`"${this.#include}/`, '"');
  }

  /** The types of a source text. gcc writes BTF since version 12. */
  btf(source: string): BtfLayouts {
    const object = join(this.#work, "types.o");
    const blob = join(this.#work, "types.btf");
    // gcc 12 encodes a signed char as "signed" and "char" at once, which no reader of BTF has to accept.
    const flags = ["-gbtf", "-funsigned-char", "-fno-eliminate-unused-debug-types", "-c", "-o", object];
    execFileSync("gcc", [...this.#kernelOnly(hostArch), ...flags, "-xc", "-"], { input: source });
    execFileSync("objcopy", ["--dump-section", `.BTF=${blob}`, object, "/dev/null"]);
    return readBtf(readFileSync(blob));
  }

  /**
   * Values of those names that are integer constants in a source text; the others are left out. The compiler itself is
   * asked: each name stands on a line of its own in a static initializer, and lines it refuses are taken away.
   */
  values(
    source: string,
    names: readonly string[],
    options: { libc?: boolean; arch?: string } = {},
  ): Map<string, bigint> {
    const file = join(this.#work, "values.c");
    const program = join(this.#work, "values");
    const search = options.libc === true ? [] : this.#kernelOnly(options.arch ?? hostArch);
    let left = [...names];
    for (;;) {
      const head = `${source}\nint printf(const char *, ...);\nstatic const struct { const char *n; unsigned long long v; int neg; } t[] = {\n`;
      const tail = `{ 0, 0, 0 } };\nint main(void) { for (int i = 0; t[i].n; i++) printf(t[i].neg ? "%s %lld\\n" : "%s %llu\\n", t[i].n, t[i].v); return 0; }\n`;
      writeFileSync(
        file,
        head +
          left.map((name) => `{ "${name}", (unsigned long long)(${name}), (${name}) < 0 },\n`).join("") +
          tail,
      );
      const flags = ["-w", "-fmax-errors=0", "-ftrack-macro-expansion=0", "-o", program, file];
      const run = spawnSync("gcc", [...search, ...flags], { encoding: "utf8" });
      if (run.status === 0) break;
      const firstLine = head.split("\n").length;
      const refused = new Set(
        [...run.stderr.matchAll(/values\.c:(\d+):\d+: error:/g)].map((m) => Number(m[1])),
      );
      const kept = left.filter((_, index) => !refused.has(firstLine + index));
      if (kept.length === left.length) throw new Error(`gcc failed:\n${run.stderr}`);
      left = kept;
    }
    const lines = execFileSync(program, { encoding: "utf8" }).trim().split("\n");
    return new Map(
      lines.map((line) => {
        const [name = "", text = ""] = line.split(" ");
        return [name, BigInt(text)];
      }),
    );
  }

  /** What strerror(3) of this machine's C library says to each number. */
  strerror(numbers: readonly number[]): Map<number, string> {
    const program = join(this.#work, "strerror");
    const calls = numbers.map((number) => `puts(strerror(${number}));`).join("");
    const source = `#include <stdio.h>\n#include <string.h>\nint main(void) { ${calls} return 0; }\n`;
    execFileSync("gcc", ["-o", program, "-xc", "-"], { input: source });
    const texts = execFileSync(program, { encoding: "utf8", env: { LC_ALL: "C" } })
      .trim()
      .split("\n");
    return new Map(numbers.map((number, index) => [number, texts[index] ?? ""]));
  }
}

function extractConstants(gcc: Gcc, unit: ConstantUnit): HeaderFacts[] {
  const source = includes(unit.parts.map((part) => part.header));
  const scanned = scanPreprocessed(gcc.preprocess(source));
  const candidates = unit.parts
    .flatMap((part) => required(scanned.get(part.header), part.header))
    .filter((item) => item.kind === "enum" || !/[{};"]/.test(item.body))
    .flatMap((item) => (item.kind === "enum" ? item.members.map((member) => member.name) : [item.name]));
  const values = gcc.values(source, [...new Set(candidates)]);
  const seen = new Set<string>();
  const headers = unit.parts.map((part): HeaderFacts => {
    const wanted = (name: string): boolean =>
      !seen.has(name) && (part.only?.test(name) ?? true) && !(part.except?.test(name) ?? false);
    const groups = groupConstants(required(scanned.get(part.header), part.header), wanted, values, seen);
    return { header: part.header, groups };
  });
  if (unit.libc === undefined) return headers;
  const { headers: libcHeaders, names } = unit.libc;
  const source2 = `#define _GNU_SOURCE 1\n${includes(libcHeaders)}`;
  const libcValues = gcc.values(source2, names, { libc: true });
  const libcNumbers = names.map((name): [string, Value] => [
    name,
    Number(required(libcValues.get(name), name)),
  ]);
  return [
    ...headers,
    { header: libcHeaders.join(", "), groups: [{ values: Object.fromEntries(libcNumbers) }] },
  ];
}

function groupConstants(
  items: readonly Scanned[],
  wanted: (name: string) => boolean,
  values: ReadonlyMap<string, bigint>,
  seen: Set<string>,
): ConstantGroup[] {
  const groups: ConstantGroup[] = [];
  let defines: Record<string, Value> = {};
  let strings: Record<string, string> = {};
  const flush = (): void => {
    const hasStrings = Object.keys(strings).length > 0;
    if (Object.keys(defines).length > 0 || hasStrings) {
      groups.push(hasStrings ? { values: defines, strings } : { values: defines });
    }
    defines = {};
    strings = {};
  };
  for (const item of items) {
    if (item.kind === "define") {
      if (!wanted(item.name)) continue;
      const value = values.get(item.name);
      const literal = /^"([\w.-]*)"$/.exec(item.body)?.[1];
      if (value !== undefined) defines[item.name] = constantValue(value, item.body);
      else if (literal !== undefined) strings[item.name] = literal;
      else continue;
      seen.add(item.name);
    } else {
      flush();
      const members = item.members.filter((member) => wanted(member.name));
      if (members.length === 0) continue;
      const entries = members.map(({ name, body }): [string, Value] => {
        seen.add(name);
        return [name, constantValue(required(values.get(name), name), body)];
      });
      groups.push({ enum: item.name, values: Object.fromEntries(entries) });
    }
  }
  flush();
  return groups;
}

/** Hexadecimal where the header writes a mask, a shift or a hexadecimal number. */
function constantValue(value: bigint, body: string): Value {
  if (value >= 0n && /0x|<</i.test(body)) return `0x${value.toString(16)}`;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : `0x${value.toString(16)}`;
}

/** `union bpf_attr`, one layout per command; a layout ends with its last field. */
function extractAttr(btf: BtfLayouts): Facts["attr"] {
  const { size, fields } = required(btf.layout("bpf_attr"), "union bpf_attr");
  const commands: { name: string; fields: FieldFacts[] }[] = [];
  let lastOffset = 0;
  for (const field of fields) {
    if (field.fields !== undefined) {
      commands.push({ name: field.name, fields: [...field.fields] });
      lastOffset = 0;
      continue;
    }
    // An unnamed member begins where a field of the union stands at 0 again and is one of the known first fields.
    const name = field.offset === 0 ? anonymousAttrs[field.name] : undefined;
    if (name !== undefined) commands.push({ name, fields: [] });
    const current = commands.at(-1);
    if (current === undefined || (field.offset < lastOffset && name === undefined)) {
      const inUnion = current?.fields.some((other) => other.offset === field.offset) ?? false;
      if (!inUnion) throw new Error(`bpf_attr.${field.name} begins a command that units.ts does not name`);
    }
    current?.fields.push(field);
    lastOffset = field.offset;
  }
  return { size, commands: commands.map((command) => ({ ...command, size: endOf(command.fields) })) };
}

const endOf = (fields: readonly FieldFacts[]): number =>
  Math.max(...fields.map((field) => field.offset + field.size));

/** Prototypes from the description of each helper in `linux/bpf.h`, ids from `enum bpf_func_id`. */
function extractHelpers(gcc: Gcc, header: string): HelperFacts[] {
  const text = readFileSync(header, "utf8");
  const start = text.indexOf("Start of BPF helper function descriptions:");
  const end = text.indexOf("#define ___BPF_FUNC_MAPPER");
  const signatures = new Map<string, string>();
  for (const line of text.slice(start, end).split("\n")) {
    const match = /^ \* ((?:[a-z]\w*[ *]+)+)(bpf_\w+)(\(.*\))$/.exec(line);
    if (match !== null) signatures.set(match[2] ?? "", `${match[1]}${match[2]}${match[3]}`);
  }
  const items = scanPreprocessed(gcc.preprocess(includes(["linux/bpf.h"]))).get("linux/bpf.h") ?? [];
  const list = items.find((item) => item.kind === "enum" && item.name === "bpf_func_id");
  if (list?.kind !== "enum") throw new Error("no enum bpf_func_id");
  const members = list.members.map((member) => member.name);
  const names = members.filter((name) => name.startsWith("BPF_FUNC_") && name !== "BPF_FUNC_unspec");
  const ids = gcc.values(includes(["linux/bpf.h"]), names);
  return names.map((member) => {
    const name = member.replace("BPF_FUNC_", "bpf_");
    const signature = required(signatures.get(name), `description of ${name}`);
    return { name, id: Number(ids.get(member)), signature };
  });
}

/** Numbers from the kernel's headers, texts from strerror(3). */
function extractErrnos(gcc: Gcc): ErrnoFacts[] {
  const source = includes(["asm/errno.h"]);
  const names = [...scanPreprocessed(gcc.preprocess(source)).values()]
    .flat()
    .flatMap((item) => (item.kind === "define" && /^E[A-Z0-9]+$/.test(item.name) ? [item.name] : []));
  const values = gcc.values(source, names);
  const texts = gcc.strerror([...values.values()].map(Number));
  const known = [...values].map(([name, number]) => ({
    name,
    number: Number(number),
    text: newErrnoTexts[name] ?? required(texts.get(Number(number)), `text of ${name}`),
  }));
  return [...known, ...kernelOnlyErrnos].sort((a, b) => a.number - b.number);
}

function extractSyscalls(gcc: Gcc, arch: string): Record<string, number> {
  const values = gcc.values(
    includes(["asm/unistd.h"]),
    syscallNames.map((name) => `__NR_${name}`),
    { arch },
  );
  return Object.fromEntries([...values].map(([name, number]) => [name.replace("__NR_", ""), Number(number)]));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const fetched = findHeaders().find((headers) => headers.root === defaultHeaders);
  if (fetched === undefined)
    throw new Error(`no headers in ${defaultHeaders}: run scripts/uapi/fetch-headers.sh`);
  const facts = extract(fetched);
  writeFileSync(factsPath, format("facts.json", JSON.stringify(facts)));
  console.log(`facts of linux-libc-dev ${facts.version} in ${factsPath}`);
}
