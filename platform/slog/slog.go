// Package slog writes the daemon's log: lines such as
//
//	time=2026-01-02T15:04:05.000Z level=WARN msg="laying routes anew" error="no such device"
//
// It is the small part of log/slog that greseal needs, with its names and its
// text. The library's own brings encoding/json along, always: 250 kB on the
// smallest routers.
package slog

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
)

// Level is how much a line matters.
type Level int32

// Levels.
const (
	LevelDebug Level = iota - 1
	LevelInfo
	LevelWarn
	LevelError
)

var words = [...]string{"debug", "info", "warn", "error"}

// String is the level's word as the config has it, in lower case.
func (l Level) String() string { return words[l-LevelDebug] }

// ParseLevel is the level of a word, LevelInfo for one that is none.
func ParseLevel(word string) Level {
	for i, w := range words {
		if w == word {
			return LevelDebug + Level(i)
		}
	}
	return LevelInfo
}

// Logger writes lines, each by one Write. Any number of goroutines may use it; a
// nil one writes nothing.
type Logger struct {
	level atomic.Int32
	mu    sync.Mutex
	w     io.Writer
}

// New is a logger that writes lines from LevelInfo up.
func New(w io.Writer) *Logger { return &Logger{w: w} }

// SetLevel makes level the lowest that is written.
func (l *Logger) SetLevel(level Level) {
	if l != nil {
		l.level.Store(int32(level))
	}
}

// Debug, Info, Warn and Error write a message and pairs of key and value.
func (l *Logger) Debug(msg string, pairs ...any) { l.Log(LevelDebug, msg, pairs...) }
func (l *Logger) Info(msg string, pairs ...any)  { l.Log(LevelInfo, msg, pairs...) }
func (l *Logger) Warn(msg string, pairs ...any)  { l.Log(LevelWarn, msg, pairs...) }
func (l *Logger) Error(msg string, pairs ...any) { l.Log(LevelError, msg, pairs...) }

// Log writes a line of any level. Values are written as fmt does, so what
// redacts itself there does so here.
func (l *Logger) Log(level Level, msg string, pairs ...any) {
	if l == nil || level < Level(l.level.Load()) {
		return
	}
	b := time.Now().AppendFormat([]byte("time="), "2006-01-02T15:04:05.000Z07:00")
	b = append(b, " level="+strings.ToUpper(level.String())+" msg="...)
	b = appendText(b, msg)
	for i := 0; i+1 < len(pairs); i += 2 {
		b = append(b, ' ')
		b = append(appendText(b, fmt.Sprint(pairs[i])), '=')
		b = appendText(b, fmt.Sprintf("%+v", pairs[i+1]))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.w.Write(append(b, '\n'))
}

// appendText appends s, quoted where a reader could not tell its end.
func appendText(b []byte, s string) []byte {
	odd := func(r rune) bool {
		return r == ' ' || r == '"' || r == '=' || r == unicode.ReplacementChar || !strconv.IsPrint(r)
	}
	if s == "" || strings.ContainsFunc(s, odd) {
		return strconv.AppendQuote(b, s)
	}
	return append(b, s...)
}
