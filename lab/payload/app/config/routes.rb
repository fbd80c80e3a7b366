Rails.application.routes.draw do
  root 'home#index'
  get 'slow', to: 'home#slow'
  get 'coursesurveys/search/:q', to: 'coursesurveys#search'
  get 'saves', to: 'saves#index'
  post 'saves', to: 'saves#create'
end
