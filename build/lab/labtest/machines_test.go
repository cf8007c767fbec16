package main

import "testing"

func TestSkippedTestsAreChosenAloneByTheirPattern(t *testing.T) {
	skips := []skippedTest{
		{pkg: "greseal/a", test: "TestWhole"},
		{pkg: "greseal/a", test: "TestPart/it's_(one)"},
		{pkg: "greseal/b", test: "TestOther"},
	}
	if got, want := (testBinary{pkg: "greseal/a"}).skipped(skips), `^TestWhole$|^TestPart$/^it.s_\(one\)$`; got != want {
		t.Errorf("the pattern is %s, want %s", got, want)
	}
}
