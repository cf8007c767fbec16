package ikev2

import (
	"testing"
	"time"
)

func TestTwoEnginesAgree(t *testing.T) {
	n, w, e := twoNodes(t, 1, nil)
	n.log = t.Logf
	w.initiate()
	n.run(time.Second)
	agree(t, w, e)
}
