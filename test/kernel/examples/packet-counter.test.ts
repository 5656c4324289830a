import { expect, test } from "vitest";
import { createTestNet } from "../../support/netns.ts";
import { describeKernel } from "../../support/privileges.ts";
import { expectNoPrograms, interrupt, startExample } from "./harness.ts";

describeKernel("examples/packet-counter.ts", () => {
  test("counts packets and bytes by protocol", async () => {
    await using net = await createTestNet();
    const example = await startExample("packet-counter", ["eth0"], "counting on eth0, in native mode\n", net);
    expect(await net.ping({ count: 4, size: 56 })).toMatchObject({ received: 4 });
    expect(await net.sendUdp({ count: 5, size: 100 })).toEqual({ sent: 5 });
    await example.waitFor("UDP: 5 packets, 710 bytes\n"); // 100 + 8 UDP + 20 IP + 14 Ethernet
    await example.waitFor("ICMP: 4 packets, 392 bytes\n"); // 56 + 8 ICMP + 34
    expect(await net.tcpEcho({ bytes: 1000 })).toMatchObject({ intact: 1 });
    await example.waitFor(/^TCP: \d+ packets, \d+ bytes$/m);
    const lines = (await interrupt(example)).trimEnd().split("\n");
    expect(lines.filter((line) => /^(UDP|ICMP):/.test(line))).toHaveLength(2); // no traffic but the test's
    await expectNoPrograms(net);
  });

  test("counts IPv6, too", async () => {
    await using net = await createTestNet({ ipv6: true });
    const example = await startExample("packet-counter", ["eth0"], "counting on eth0", net);
    expect(await net.sendUdp({ count: 3, size: 100, family: 6 })).toEqual({ sent: 3 });
    await example.waitFor("UDP: 3 packets, 486 bytes\n"); // 100 + 8 + 40 IPv6 + 14
    await interrupt(example);
  });
});
