import { expect, test } from "vitest";
import { createTestNet } from "../../support/netns.ts";
import { describeKernel } from "../../support/privileges.ts";
import { expectNoPrograms, interrupt, startExample } from "./harness.ts";

describeKernel("examples/top-senders.ts", () => {
  test("counts packets and bytes by sender", async () => {
    await using net = await createTestNet();
    const example = await startExample("top-senders", ["eth0"], "counting on eth0, in native mode\n", net);
    expect(await net.sendUdp({ count: 5, size: 100 })).toEqual({ sent: 5 });
    await example.waitFor("10.77.0.2: 5 packets, 710 bytes\n"); // 100 + 8 UDP + 20 IP + 14 Ethernet
    expect(await net.ping({ count: 4, size: 56 })).toMatchObject({ received: 4 });
    await example.waitFor("10.77.0.2: 9 packets, 1102 bytes\n"); // 56 + 8 ICMP + 34
    const lines = (await interrupt(example)).trimEnd().split("\n").slice(1);
    expect(lines.filter((line) => !line.startsWith("10.77.0.2: "))).toEqual([]);
    await expectNoPrograms(net);
  });
});
