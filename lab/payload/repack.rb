# repack.rb OUTDIR GEM...
# Makes real .gem files, compiled parts included, of the named gems of Debian's packages and of all that they need.
# Bundler then installs them with no gem server, as it would from one.
require 'fileutils'
require 'rubygems/package'
require 'rubygems/user_interaction'
require 'tmpdir'

Gem::DefaultUserInteraction.ui = Gem::SilentUI.new

# The files of one installed gem, as they are laid out in a gem.
class Installed
  def initialize(spec)
    @spec = spec
  end

  # Pairs of [path on this host, path in the gem].
  def files
    found = package_files.filter_map { |path| (inside = place(path)) && [path, inside] }
    found.select { |path, _| File.file?(path) }
  end

  private

  def package_files
    owner = IO.popen(['dpkg', '-S', @spec.loaded_from], err: File::NULL, &:read)[/\A[^:]+/]
    owner ? IO.popen(['dpkg', '-L', owner], &:readlines).map(&:chomp) : []
  end

  def place(path)
    name = Regexp.escape(@spec.full_name)
    case path
    when %r{/(?:rubygems-integration|ruby/gems)/[^/]+/gems/#{name}/(.+)} then Regexp.last_match(1)
    when %r{/rubygems-integration/[^/]+/extensions/[^/]+/[^/]+/#{name}/(.+\.so)\z} then "lib/#{Regexp.last_match(1)}"
    when %r{\A/usr/lib/(?:[^/]+/)?ruby/vendor_ruby/(?:\d+\.\d+\.\d+/)?(.+)} then "lib/#{Regexp.last_match(1)}"
    when %r{\A/usr/bin/([^/]+)\z}
      "exe/#{Regexp.last_match(1)}" if @spec.executables.include?(Regexp.last_match(1))
    end
  end
end

def closure(names)
  found = {}
  queue = names.map { |name| Gem::Dependency.new(name) }
  until queue.empty?
    dependency = queue.shift
    next if dependency.name == 'bundler' || found.key?(dependency.name)

    spec = dependency.to_specs.max_by(&:version)
    found[dependency.name] = spec
    queue.concat(spec.runtime_dependencies)
  end
  found.values
end

def fresh_spec(spec, files)
  Gem::Specification.new do |s|
    s.name = spec.name
    s.version = spec.version
    s.summary = spec.summary || spec.name
    s.authors = ['Debian']
    s.licenses = spec.licenses.empty? ? ['Nonstandard'] : spec.licenses
    s.homepage = 'https://example.invalid'
    s.required_ruby_version = spec.required_ruby_version
    s.files = files
    s.bindir = 'exe'
    s.executables = files.filter_map { |file| file[%r{\Aexe/(.+)}, 1] }
    own = spec.raw_require_paths.select { |path| files.any? { |file| file.start_with?("#{path}/") } }
    s.require_paths = own | ['lib']
    spec.runtime_dependencies.each { |needed| s.add_dependency(needed.name, *needed.requirements_list) }
  end
end

def pack(spec, out)
  pairs = Installed.new(spec).files
  Dir.mktmpdir do |dir|
    pairs.each do |source, inside|
      target = File.join(dir, inside)
      FileUtils.mkdir_p(File.dirname(target))
      FileUtils.cp(source, target)
    end
    Dir.chdir(dir) { FileUtils.mv(Gem::Package.build(fresh_spec(spec, pairs.map(&:last).uniq), true), out) }
  end
end

out = File.expand_path(ARGV.shift)
FileUtils.mkdir_p(out)
closure(ARGV).each do |spec|
  # Default gems come with every Ruby and need no file in the cache.
  pack(spec, out) unless spec.default_gem?
end
puts "#{Dir[File.join(out, '*.gem')].size} gems"
