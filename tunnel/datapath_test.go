package tunnel

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	sys "golang.org/x/sys/unix"

	"greseal/platform/kernel"
)

func TestAProbeMadeBeforeThePrivilegesWereDroppedIsTaken(t *testing.T) {
	var uts sys.Utsname
	if err := sys.Uname(&uts); err != nil {
		t.Fatal(err)
	}
	want := kernel.Result{
		Kernel:   sys.ByteSliceToString(uts.Release[:]),
		Features: []kernel.Finding{{Name: "gre"}, {Name: "guard", Problem: "told by the file"}},
		Algorithms: []kernel.AlgorithmFinding{{
			Algorithm: kernel.DefaultAlgorithms()[0],
			Finding:   kernel.Finding{Name: "first"},
		}},
	}
	file := filepath.Join(t.TempDir(), "probe.json")
	write := func(r kernel.Result) {
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("GRESEAL_PROBE", file)
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))

	write(want)
	if got := probeResult(logger); !reflect.DeepEqual(got, &want) || log.Len() > 0 {
		t.Errorf("got %+v, want %+v, log %s", got, &want, log.String())
	}
	other := want
	other.Kernel = "1.2.3"
	write(other)
	if got := probeResult(logger); reflect.DeepEqual(got, &other) || !strings.Contains(log.String(), `it is for kernel`) {
		t.Errorf("the probe of another kernel: %+v, log %s", got, log.String())
	}
	log.Reset()
	os.Remove(file)
	if probeResult(logger); !strings.Contains(log.String(), "no such file") {
		t.Errorf("log %s", log.String())
	}
}
