package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	milter "github.com/libmilter/go-libmilter"
)

// outcomes are what can become of a recipient, or at once of a mail (authenticated) or a connection (the first two).
var outcomes = []string{
	"whitelisted_network", "whitelisted_client", "authenticated", "whitelisted_recipient",
	string(firstSeen), string(early), string(retried), string(known),
	"store_down_accepted", "store_down_deferred",
}

// metrics are the program's figures for Prometheus.
type metrics struct {
	registry  *prometheus.Registry
	decisions *prometheus.CounterVec
	seconds   prometheus.Histogram
	failures  prometheus.Counter
	breaker   prometheus.Gauge
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "greylist_decisions_total",
			Help: "Recipients by outcome; authenticated counts mails, whitelisted_network and whitelisted_client connections."}, []string{"outcome"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "greylist_store_seconds",
			Help: "How long the store took to decide or to fail.", Buckets: prometheus.ExponentialBuckets(0.0001, 2, 14)}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{Name: "greylist_store_failures_total",
			Help: "Decisions that the store was asked for and did not make."}),
		breaker: prometheus.NewGauge(prometheus.GaugeOpts{Name: "greylist_store_breaker_open",
			Help: "1 while the store is left alone after failures."}),
	}
	for _, outcome := range outcomes {
		m.decisions.WithLabelValues(outcome) // so that each is there with 0
	}
	m.registry.MustRegister(m.decisions, m.seconds, m.failures, m.breaker,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) decided(outcome string) { m.decisions.WithLabelValues(outcome).Inc() }

func (m *metrics) storeAsked(took time.Duration, err error) {
	m.seconds.Observe(took.Seconds())
	if err != nil {
		m.failures.Inc()
	}
}

func (m *metrics) breakerOpen(open bool) {
	m.breaker.Set(0)
	if open {
		m.breaker.Set(1)
	}
}

// observe adds the server's own figures.
func (m *metrics) observe(srv *milter.Server) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(
		prometheus.GaugeOpts{Name: "milter_sessions_open", Help: "MTA connections that are open."},
		func() float64 { return float64(srv.Stats().SessionsOpen) }))
	for name, c := range map[string]struct {
		help  string
		value func(milter.Stats) int64
	}{
		"milter_sessions_total":  {"MTA connections, those that said nothing included.", func(s milter.Stats) int64 { return s.SessionsTotal }},
		"milter_messages_total":  {"Mails that have come to their end.", func(s milter.Stats) int64 { return s.Messages }},
		"milter_callbacks_total": {"Callbacks that libmilter has made.", func(s milter.Stats) int64 { return s.Callbacks }},
		"milter_panics_total":    {"Callbacks that panicked.", func(s milter.Stats) int64 { return s.Panics }},
		"milter_cut_off_total":   {"Sessions that a shutdown cut off.", func(s milter.Stats) int64 { return s.SessionsCutOff }},
	} {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: c.help},
			func() float64 { return float64(c.value(srv.Stats())) }))
	}
}
