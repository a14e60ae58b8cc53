"use strict";
// Where contents come from: asked for again and again, only what is new; or all inside this file.

const Source = (() => {
  const content = JSON.parse(document.getElementById("content").textContent);
  const isLive = content.live;
  let ahead = content.fleet.now - Date.now() / 1000; // of the server's clock before ours

  class Feed {
    constructor(path, first) {
      this.path = path;
      this.items = new Map();
      this.mark = "";
      this.fault = null;
      this.listeners = new Set();
      this.isOpen = false;
      if (first) this.take(first);
    }

    // Calls `listener` with the keys that changed, at first with all that is there.
    open(listener) {
      this.listeners.add(listener);
      if (this.items.size || this.fault) listener(new Set(this.items.keys()));
      if (!this.isOpen && isLive) { this.isOpen = true; this.poll(); }
    }

    close(listener) {
      this.listeners.delete(listener);
      if (!this.listeners.size) { this.isOpen = false; clearTimeout(this.timer); }
    }

    async poll() {
      if (!document.hidden || !this.mark) {
        try {
          const join = this.path.includes("?") ? "&" : "?";
          const answer = await fetch(`${this.path}${join}since=${encodeURIComponent(this.mark)}`);
          if (!answer.ok) throw new Error(`${answer.status}`);
          this.take(await answer.json());
          Source.isAway = false;
        } catch (problem) {
          Source.isAway = true;
        }
        document.dispatchEvent(new Event("looked"));
      }
      clearTimeout(this.timer);
      if (this.isOpen) this.timer = setTimeout(() => this.poll(), content.refresh_ms);
    }

    take(news) {
      if (news.now) ahead = news.now - Date.now() / 1000;
      const was = this.fault;
      this.fault = news.fault || null;
      if (news.fault) { if (was !== news.fault) this.tell(new Set()); return; }
      const keys = new Set([...Object.keys(news.changed), ...news.gone]);
      if (news.all) { this.items.forEach((_, key) => keys.add(key)); this.items.clear(); }
      for (const [key, value] of Object.entries(news.changed)) this.items.set(key, value);
      for (const key of news.gone) this.items.delete(key);
      this.mark = news.mark;
      if (keys.size || was) this.tell(keys);
    }

    tell(keys) { for (const listener of this.listeners) listener(keys); }
  }

  const feeds = new Map();
  const run = (name) => {
    if (!feeds.has(name)) {
      const first = isLive ? null : content.runs[name] ||
        { fault: "This file has no more of this run than its row: the live page has, and so has a file with a larger details=." };
      feeds.set(name, new Feed(`/api/run?name=${encodeURIComponent(name)}`, first));
    }
    return feeds.get(name);
  };

  async function grid(name, images) {
    if (!isLive) return { fault: "The live page has it." };
    const answer = await fetch(`/api/grid?run=${encodeURIComponent(name)}&images=${images}`);
    return answer.json();
  }

  return {
    isLive, isAway: false, run, grid, plotting: content.plotting,
    fleet: new Feed("/api/fleet", content.fleet),
    now: () => Date.now() / 1000 + (isLive ? ahead : 0),
  };
})();
