# Sourced by .ci/services: two days of made history, 2026-11-20 and 21 UTC, so that tests see the same
# samples whenever they run. aiops-detectors/tests/real_servers/main.rs knows the rules, and that of "ways"
# the_same_samples_by_every_way_give_the_same_events.rs: it begins at ten past, since VictoriaMetrics does not
# find a day's first sample in a range that ends at midnight.

# OpenMetrics text: a sample a minute. Checkout is 400 higher in the last half hour; "gap" has none in
# the second hour; of 60 requests a minute one in ten fails in the last half hour.
made_history() {
  awk 'BEGIN {
    start = 1795132800; minutes = 2880
    print "# TYPE aiops_test_latency gauge"
    for (s = 0; s < 2; s++)
      for (i = 0; i < minutes; i++) {
        value = 100 + (i % 1440 >= 720 ? 50 : 0) + ((i * 7919 + s * 13) % 101) / 10
        if (s == 0 && i >= minutes - 30) value += 400
        printf "aiops_test_latency{service=\"%s\"} %.1f %d\n", s == 0 ? "checkout" : "cart", value, start + i * 60
      }
    print "# TYPE aiops_test_gap gauge"
    for (i = 0; i < 180; i++) if (i < 60 || i >= 120) printf "aiops_test_gap %d %d\n", i, start + i * 60
    print "# TYPE aiops_test_odd gauge"
    split("NaN +Inf -Inf 1.5e+21 1e-07", odd, " ")
    for (k = 1; k <= 5; k++) printf "aiops_test_odd{k=\"%d\"} %s %d\n", k, odd[k], start
    print "# TYPE aiops_test_ways gauge"
    for (s = 0; s < 2; s++)
      for (i = 0; i < 200; i++) {
        if (s == 1 && i >= 100 && i < 104) continue
        value = i % 13 / 30 + 0.1 + (s == 1 && i >= 150 && i < 160 ? 2 : 0)
        printf "aiops_test_ways{service=\"%s\"} %.9f %d\n", s == 0 ? "cart" : "checkout", value, start + 600 + i * 60
      }
    print "# TYPE aiops_test_requests counter"
    for (c = 0; c < 2; c++)
      for (i = 0; i <= minutes; i++) {
        failed = i > minutes - 30 ? (i - minutes + 30) * 6 : 0
        printf "aiops_test_requests_total{code=\"%d\"} %d %d\n", c ? 500 : 200, c ? failed : i * 60 - failed, start + i * 60
      }
    print "# EOF"
  }'
}
