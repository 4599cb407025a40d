package main

import (
	"bytes"
	"flag"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// environment gives a lookupFunc for these variables.
func environment(env map[string]string) lookupFunc {
	return func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	}
}

func mustParse(t *testing.T, args ...string) *config {
	t.Helper()
	cfg, err := parse(args, environment(nil), io.Discard)
	require.NoError(t, err)
	return cfg
}

func TestDefaults(t *testing.T) {
	cfg := mustParse(t)
	require.Equal(t, 36*24*time.Hour, cfg.lifetime)
	require.Equal(t, policyAccept, cfg.storeDown)
	require.Equal(t, loopback, cfg.whitelist.networks)
	require.Empty(t, cfg.http)
}

func TestFlagsWin(t *testing.T) {
	env := environment(map[string]string{
		"GREYLIST_DELAY": "1m", "GREYLIST_STORE_DOWN": "defer", "GREYLIST_LOG_LEVEL": "warn",
		"GREYLIST_WHITELIST_NETWORKS": "10.0.0.0/8", "GREYLIST_REDIS_CLUSTER": "true",
	})
	cfg, err := parse([]string{"-delay", "2m", "-whitelist-networks", "192.0.2.0/24"}, env, io.Discard)
	require.NoError(t, err)
	require.Equal(t, 2*time.Minute, cfg.delay)
	require.Equal(t, policyDefer, cfg.storeDown)
	require.Equal(t, slog.LevelWarn, cfg.logLevel)
	require.True(t, cfg.redisCluster)
	require.Len(t, cfg.whitelist.networks, 1)
	require.Equal(t, "192.0.2.0/24", cfg.whitelist.networks[0].String())
}

func TestWrongConfiguration(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		env  map[string]string
		want string
	}{
		"policy":            {args: []string{"-store-down", "ignore"}, want: "neither accept nor defer"},
		"variable":          {env: map[string]string{"GREYLIST_DELAY": "soon"}, want: `"soon" for GREYLIST_DELAY`},
		"no delay":          {args: []string{"-delay", "0"}, want: "-delay must be above 0"},
		"window":            {args: []string{"-delay", "1h", "-retry-window", "1h"}, want: "leaves no time"},
		"lifetime":          {args: []string{"-lifetime", "0"}, want: "-lifetime must be above 0"},
		"timeout":           {args: []string{"-store-timeout", "0"}, want: "-store-timeout must be above 0"},
		"drain":             {args: []string{"-drain", "-1s"}, want: "must not be below 0"},
		"network":           {args: []string{"-whitelist-networks", "10.0.0.0/33"}, want: "10.0.0.0/33"},
		"address":           {args: []string{"-whitelist-networks", "example.org"}, want: "example.org"},
		"list without file": {args: []string{"-whitelist-clients", "@/nowhere"}, want: "/nowhere"},
		"argument":          {args: []string{"inet:8890"}, want: `"inet:8890" is no flag`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(tc.args, environment(tc.env), io.Discard)
			require.ErrorContains(t, err, tc.want)
		})
	}
}

func TestWrongRedisURL(t *testing.T) {
	for _, args := range [][]string{{"-redis", "http://store"}, {"-redis", "http://store", "-redis-cluster"}} {
		_, err := newClient(mustParse(t, args...))
		require.ErrorContains(t, err, "-redis: ")
	}
}

func TestHelpNamesVariables(t *testing.T) {
	var usage bytes.Buffer
	_, err := parse([]string{"-help"}, environment(nil), &usage)
	require.ErrorIs(t, err, flag.ErrHelp)
	require.Contains(t, usage.String(), "(GREYLIST_STORE_TIMEOUT) (default 500ms)")
	require.Contains(t, usage.String(), "(default 127.0.0.0/8,::1/128)")
}
