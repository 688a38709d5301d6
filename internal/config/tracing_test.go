package config

import (
	"maps"
	"strings"
	"testing"
)

func TestTracing(t *testing.T) {
	c := mustLoad(t, Standalone, nil, []string{
		"TASKWEIR_TRACING_ENDPOINT=https://collector:4318/otlp", "TASKWEIR_TRACING_HEADERS=X-Key=a=b, Api_Token = t0k", "TASKWEIR_TRACING_SAMPLE_RATIO=0.25",
	})
	if c.Tracing.Endpoint != "https://collector:4318/otlp" || c.Tracing.SampleRatio != 0.25 {
		t.Errorf("%+v", c.Tracing)
	}
	if got := c.Tracing.HeaderMap(); !maps.Equal(got, map[string]string{"X-Key": "a=b", "Api_Token": "t0k"}) {
		t.Errorf("headers %v", len(got))
	}
	if got := (Tracing{}).HeaderMap(); len(got) != 0 {
		t.Error(got)
	}
}

func TestTracingRefuses(t *testing.T) {
	for setting, says := range map[string]string{
		"TASKWEIR_TRACING_ENDPOINT=collector:4318":                            "http://host:port",
		"TASKWEIR_TRACING_ENDPOINT=ftp://h":                                   "http://host:port",
		"TASKWEIR_TRACING_ENDPOINT=http://user:secret@h":                      "tracing.headers",
		"TASKWEIR_TRACING_ENDPOINT=http://h?key=1":                            "http://host:port",
		"TASKWEIR_TRACING_HEADERS=secretvalue":                                "number 1",
		"TASKWEIR_TRACING_HEADERS=A=1,B c=secret":                             "number 2",
		"TASKWEIR_TRACING_HEADERS=A=":                                         "number 1",
		"TASKWEIR_TRACING_HEADERS=A=sec\nret":                                 "number 1",
		"TASKWEIR_TRACING_HEADERS=A=" + strings.Repeat("x", maxHeaderValue+1): "number 1",
		"TASKWEIR_TRACING_SAMPLE_RATIO=1.1":                                   "from 0 to 1",
		"TASKWEIR_TRACING_SAMPLE_RATIO=-1":                                    "from 0 to 1",
		"TASKWEIR_TRACING_SAMPLE_RATIO=NaN":                                   "from 0 to 1",
	} {
		_, err := Load(Standalone, nil, []string{"TASKWEIR_DATA_DIR=" + t.TempDir(), setting})
		key, _, _ := strings.Cut(setting, "=")
		if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), key) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", setting, err)
		}
	}
}
